"""The export verb: what it prints, what it records, and mistakes named in one line with nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import trained, with_other_settings
from click.testing import CliRunner

from iaa_retrieval.export import main
from iaa_retrieval.exporting.formats import format_names
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.retriever_config import Interpolation, read_retriever_config

Backbone = Callable[[str], Path]


def call(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_a_merged_bi_encoder_comes_with_the_stock_command(tiny_backbone: Backbone, tmp_path: Path):
    checkpoint, output = trained("bi-encoder", "lora", tiny_backbone("bert")).path, tmp_path / "plain encoder"
    code, message = call("--checkpoint", checkpoint, "--format", "merged", "--output", output)
    assert code == 0, message
    first, second, *command = message.splitlines()
    assert first.startswith(f"{output}: merged, largest difference to the model ")
    assert float(first.split()[-1]) < 1e-5
    assert second == "With stock Pyserini:"
    flags = f"--encoder '{output}' --encoder-class auto --pooling mean --l2-norm"
    assert [line.strip() for line in command] == [
        "python -m pyserini.encode \\",
        "input --corpus CORPUS --fields text \\",
        "output --embeddings INDEX --to-faiss \\",
        f"encoder {flags} \\",
        "--fields text --max-length 64 --dimension 32 --device cpu",
        "python -m pyserini.search.faiss --index INDEX --topics TOPICS --output run.trec --device cpu \\",
        flags,
    ]
    readme = (output / "README.md").read_text()
    assert "--encoder 'plain encoder' --encoder-class auto --pooling mean --l2-norm" in readme
    assert "Stock Pyserini cuts a query at 64 tokens, iaa_retrieval at 32." in readme
    record = json.loads((output / "export.json").read_text())
    config = read_retriever_config(checkpoint)
    assert config is not None
    assert record["exported_fingerprint"] == config.fingerprint
    assert (record["format"], record["method"], record["adapter_inside"]) == ("merged", "lora", False)


def test_a_path_that_misleads_pyserini_is_pointed_out(tiny_backbone: Backbone, tmp_path: Path):
    checkpoint = trained("bi-encoder", "lora", tiny_backbone("bert")).path
    code, message = call("--checkpoint", checkpoint, "--format", "merged", "--output", tmp_path / "wordsenc")
    assert code == 0
    assert message.splitlines()[-1] == "Pyserini reads something else into 'dse' in a path; rename it."


@pytest.mark.parametrize("export_format", ("merged", "self-contained", "sentence-transformers"))
def test_every_readme_speaks_of_the_directory_by_name(export_format: str, tiny_backbone: Backbone, tmp_path: Path):
    for kind in ("bi-encoder", "cross-encoder"):
        checkpoint, output = trained(kind, "bitfit", tiny_backbone("bert")).path, tmp_path / f"my-{kind}"
        code, message = call("--checkpoint", checkpoint, "--format", export_format, "--output", output)
        assert code == 0, message
        readme = (output / "README.md").read_text()
        assert f"my-{kind}" in readme and str(tmp_path) not in readme
        assert str(tiny_backbone("bert").parent) not in readme


@pytest.mark.parametrize("export_format", ["merged", "self-contained"])
@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_what_other_tools_do_not_know_of_a_re_ranker_is_said(
    export_format: str, weight: float, tiny_backbone: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "iaa_retrieval")
    chosen = Interpolation(weight, "dev.trec", "bm25", 40, 50, "nDCG@10", 0.5, 0.7, 0.6)
    trained_one = trained("cross-encoder", "lora", tiny_backbone("bert")).path
    checkpoint = with_other_settings(trained_one, tmp_path / "checkpoint", interpolation=chosen)
    output = tmp_path / "exported"
    code, message = call("--checkpoint", checkpoint, "--format", export_format, "--output", output)
    assert code == 0, message
    said = [r.getMessage() for r in caplog.records if "other tools know nothing" in r.getMessage()]
    assert len(said) == (weight < 1)
    assert ("other tools know nothing of it" in (output / "README.md").read_text()) == (weight < 1)
    if said:
        assert said[0].startswith(f"{output}: 0.25 of this score and 0.75 of the first stage's, each scaled to [0, 1]")
    config = read_retriever_config(output)  # for our own tools, which go by it
    assert config is not None and config.interpolation == chosen


def test_an_output_that_holds_something_is_left_alone(tiny_backbone: Backbone, tmp_path: Path):
    checkpoint = trained("bi-encoder", "lora", tiny_backbone("bert")).path
    (tmp_path / "notes.txt").write_text("mine")
    code, message = call("--checkpoint", checkpoint, "--format", "merged", "--output", tmp_path)
    assert code == 1 and "is not empty" in message
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_method_that_cannot_is_wrong_usage(tiny_backbone: Backbone, tmp_path: Path):
    checkpoint, output = trained("cross-encoder", "iaa-l", tiny_backbone("bert")).path, tmp_path / "out"
    code, message = call("--checkpoint", checkpoint, "--format", "merged", "--output", output)
    assert code == 2 and message.startswith("Error: method iaa-l cannot be merged")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("export_format", ("merged", "sentence-transformers", "onnx"))
def test_separate_encoders_only_fit_one_format(export_format: str, tiny_backbone: Backbone, tmp_path: Path):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path, checkpoint)
    values = json.loads((checkpoint / "retriever.json").read_text())
    (checkpoint / "retriever.json").write_text(json.dumps({**values, "separate_encoders": True}))
    for role in ("query", "passage"):
        (checkpoint / role).mkdir()
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(checkpoint / file, checkpoint / role / file)
    code, message = call("--checkpoint", checkpoint, "--format", export_format, "--output", tmp_path / "out")
    assert code == 2 and "has separate query and passage encoders" in message
    assert "use --format self-contained" in message
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_one_line(tmp_path: Path):
    code, message = call("--checkpoint", tmp_path / "none", "--format", "onnx", "--output", tmp_path / "out")
    assert code == 1 and message == f"Error: backbone {tmp_path}/none: no such directory\n"
    code, message = call("--checkpoint", tmp_path, "--format", "pickle", "--output", tmp_path / "out")
    assert code == 2 and "'pickle' is not one of" in message
    assert not (tmp_path / "out").exists()


def test_the_function_knows_the_same_formats(tmp_path: Path):
    assert format_names() == ("merged", "self-contained", "sentence-transformers", "onnx")
    with pytest.raises(Exception, match="unknown format 'pickle'; one of merged"):
        export(ExportOptions("any", "pickle", str(tmp_path / "out")))

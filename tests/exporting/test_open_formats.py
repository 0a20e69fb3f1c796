"""A format from elsewhere: listed, written with the parity check and read back, with nothing but its own class."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, trained
from click.testing import CliRunner
from exports import separate_checkpoint

from iaa_retrieval import registry
from iaa_retrieval.export import main
from iaa_retrieval.exporting.base import ExportFormat, Run
from iaa_retrieval.exporting.formats import FORMATS, format_names, get_format, register_format
from iaa_retrieval.exporting.parity import sample_batch
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.inference.tokens import tokenize_texts
from iaa_retrieval.jobs.export import ExportOptions, export

if TYPE_CHECKING:
    from iaa_retrieval.exporting.source import Source

Backbone = Callable[[str], Path]
OURS = ("merged", "self-contained", "sentence-transformers", "onnx")


class TorchScriptFormat(ExportFormat):
    """One file that ``torch.jit.load`` reads without transformers, PEFT or this package."""

    name = "torchscript"
    help = "model.pt for torch.jit.load, which needs no other package; " + "every batch size and length " * 5

    def __init__(self, off_by: float = 0.0) -> None:
        self.off_by = off_by

    def write(self, source: Source, directory: Path) -> bool:
        names = source.input_names

        class Positional(torch.nn.Module):
            def __init__(self, model: torch.nn.Module, off_by: float) -> None:
                super().__init__()
                self.model = model
                self.off_by = off_by

            def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
                return self.model(**dict(zip(names, (ids, mask), strict=True))) + self.off_by

        graph = Positional(source.model, self.off_by).eval()
        traced = torch.jit.trace(graph, tuple(sample_batch(source, 2, 7).values()), check_trace=False)
        traced.save(str(directory / "model.pt"))
        source.config.save(directory)
        return True

    def read(self, directory: Path) -> Run:
        loaded = torch.jit.load(str(directory / "model.pt"))
        return lambda inputs: loaded(inputs["input_ids"], inputs["attention_mask"])

    def usage(self, source: Source, name: str, *, merged: bool) -> str:
        return f"`torch.jit.load({name + '/model.pt'!r})` of a {source.config.kind}."

    def advice(self, source: Source, output: str) -> str:
        return f"python serve.py {shlex.quote(output)}"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What these tests register is forgotten after them."""
    monkeypatch.setattr(FORMATS, "_entries", {name: get_format(name) for name in format_names()})
    yield


def call(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_a_registered_format_is_written_checked_and_read_back(tiny_backbone: Backbone, tmp_path: Path):
    done = trained("bi-encoder", "iaa-l", tiny_backbone("bert"))
    register_format(TorchScriptFormat())
    output = tmp_path / "my export"
    code, message = call("--checkpoint", done.path, "--format", "torchscript", "--output", output)
    assert code == 0, message
    first, advice = message.splitlines()
    assert first.startswith(f"{output}: torchscript, largest difference to the model ")
    assert float(first.split()[-1]) < 1e-5
    assert advice == f"python serve.py '{output}'"
    readme = (output / "README.md").read_text()
    assert "# iaa-l bi-encoder, exported as torchscript\n" in readme
    assert readme.endswith("## How to use it\n\n`torch.jit.load('my export/model.pt')` of a bi-encoder.")
    record = json.loads((output / "export.json").read_text())
    assert (record["format"], record["adapter_inside"]) == ("torchscript", False)
    assert sorted(path.name for path in output.iterdir()) == ["README.md", "export.json", "model.pt", "retriever.json"]

    # What a text of one's own gives, a text at a time: not the batches of the check.
    expected = encode_passages(done.model, TEXTS)
    run = get_format("torchscript").read(output)
    for ids, vector in zip(tokenize_texts(done.model.tokenizer, TEXTS, 64), expected, strict=True):
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        np.testing.assert_allclose(run(inputs)[0].detach().numpy(), vector, atol=1e-5)


def test_a_registered_format_that_computes_something_else_leaves_nothing(tiny_backbone: Backbone, tmp_path: Path):
    register_format(TorchScriptFormat(off_by=3e-4))
    checkpoint = trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path
    code, message = call("--checkpoint", checkpoint, "--format", "torchscript", "--output", tmp_path / "out")
    assert code == 1 and "exported as torchscript differs from the model by 3.0e-04 for 1x3 tokens" in message
    assert not any(tmp_path.iterdir())


def test_help_and_messages_list_it(tmp_path: Path):
    code, before = call("--help")
    assert code == 0 and "torchscript" not in before
    register_format(TorchScriptFormat())
    code, text = call("--help")
    assert code == 0
    assert "  torchscript            model.pt for torch.jit.load, which needs no other package; every batch" in text
    assert "--format [merged|self-contained|sentence-transformers|onnx|torchscript]" in text
    # Long help goes on below its beginning, as that of our own formats does.
    lines = text.splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith("  torchscript "))
    assert lines[number + 1].startswith(" " * 25) and not lines[number + 1].startswith(" " * 26)
    assert [line for line in lines if "torchscript" not in line][:5] == before.splitlines()[:5]
    code, message = call("--checkpoint", "c", "--format", "pickle", "--output", tmp_path / "out")
    assert code == 2 and "'onnx', 'torchscript'" in message


def test_a_missing_package_is_named_before_anything_is_written(tiny_backbone: Backbone, tmp_path: Path):
    class Needy(TorchScriptFormat):
        requires = ("json", "no_such_package")

        def write(self, source: Source, directory: Path) -> bool:
            pytest.fail("it began to write")

    register_format(Needy())
    checkpoint = trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path
    code, message = call("--checkpoint", checkpoint, "--format", "torchscript", "--output", tmp_path / "out")
    assert code == 1
    assert message == "Error: this format needs the package no_such_package; pip install no_such_package\n"
    assert not (tmp_path / "out").exists()


def test_a_format_says_whether_it_holds_separate_encoders(tiny_backbone: Backbone, tmp_path: Path):
    class ForBoth(TorchScriptFormat):
        holds_separate_encoders = True
        name = "for-both"

    register_format(TorchScriptFormat())
    checkpoint, _, _ = separate_checkpoint(tiny_backbone("bert"), tmp_path / "checkpoint")
    words = ("--checkpoint", checkpoint, "--format", "torchscript", "--output", tmp_path / "out")
    code, message = call(*words)
    assert code == 2 and message.endswith("and torchscript holds one; use --format self-contained\n")
    register_format(ForBoth())
    assert call(*words)[1].endswith("use --format self-contained or for-both\n")


def test_a_name_is_taken_once():
    class Another(TorchScriptFormat):
        name = "merged"

    with pytest.raises(ValueError, match="format 'merged' is registered already"):
        register_format(Another())
    assert format_names() == OURS


FORMAT = TorchScriptFormat()


def test_formats_of_installed_packages_are_found_and_broken_ones_are_named(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    group = "iaa_retrieval.exports"
    (tmp_path / "broken_format.py").write_text("raise RuntimeError('built for\\nanother torch')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = (
        EntryPoint("gone", "no_such_module:FORMAT", group),
        EntryPoint("broken", "broken_format:FORMAT", group),
        EntryPoint("again", "iaa_retrieval.exporting.formats:_format", group),
        EntryPoint("script", f"{__name__}:FORMAT", group),
    )
    asked: list[str] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [asked.append(group), points][1])
    monkeypatch.setattr(FORMATS.packages, "_loaded", False)
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        assert format_names() == (*OURS, "torchscript")
        assert format_names() == (*OURS, "torchscript")
    assert asked == [group]
    assert [record.getMessage() for record in caplog.records] == [
        "format gone (entry point no_such_module:FORMAT) is left out: No module named 'no_such_module'",
        "format broken (entry point broken_format:FORMAT) is left out: built for another torch",
        "format again (entry point iaa_retrieval.exporting.formats:_format) is left out: "
        "format 'onnx' is registered already",
    ]
    checkpoint = trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path
    done = export(ExportOptions(str(checkpoint), "torchscript", str(tmp_path / "out")))
    assert done.max_abs_difference < 1e-5

"""Case 13, backbones beyond BERT: each is encoded, or refused when it is loaded, with the true reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from iaa_retrieval.encode import main
from iaa_retrieval.models.backbone import resolve_backbone


@pytest.fixture(scope="module")
def case(reported_cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the case's folder, with the models that its script makes."""
    folder = reported_cases / "13-t5-encoder"
    copy = tmp_path_factory.mktemp("case") / "13"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    done = subprocess.run([sys.executable, "make_models.py"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return copy


def encode(corpus: object, output: object, encoder: object) -> Result:
    words = ["input", "--corpus", corpus, "output", "--embeddings", output, "encoder", "--encoder", encoder]
    return CliRunner().invoke(main, [*map(str, words), "--pooling", "mean", "--precision", "fp32"])


@pytest.mark.parametrize("model", ("t5", "t5-encoder", "albert", "deberta", "qwen3"))
def test_every_model_of_the_case_is_encoded(model: str, case: Path, tmp_path: Path):
    result = encode(case / "docs.jsonl", tmp_path / "e", case / "out" / model)
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in (tmp_path / "e" / "embeddings.jsonl").read_text().splitlines()]
    assert len(records) == len((case / "docs.jsonl").read_text().splitlines())
    assert all(len(record["vector"]) == 32 and np.isfinite(record["vector"]).all() for record in records)


@pytest.mark.parametrize("model", ("t5", "t5-encoder"))
def test_the_vectors_are_those_of_the_encoder_alone(model: str, case: Path, tmp_path: Path):
    from transformers import AutoTokenizer, T5EncoderModel

    assert encode(case / "docs.jsonl", tmp_path / "e", case / "out" / model).exit_code == 0
    network = T5EncoderModel.from_pretrained(case / "out" / model).eval()
    tokenizer = AutoTokenizer.from_pretrained(case / "out" / model)
    for line in (tmp_path / "e" / "embeddings.jsonl").read_text().splitlines():
        record = json.loads(line)
        with torch.no_grad():
            hidden = network(**tokenizer(record["contents"], return_tensors="pt", return_token_type_ids=False))[0]
        np.testing.assert_allclose(record["vector"], hidden[0].mean(0).numpy(), atol=1e-5)


def image_model(directory: Path) -> Path:
    """What AutoModel loads and what has a tokenizer beside it, but reads no text."""
    from transformers import ViTConfig, ViTModel

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    ViTModel(ViTConfig(**size, image_size=16, patch_size=8)).save_pretrained(directory)
    for path in Path(resolve_backbone("all-MiniLM-L6-v2")).glob("tokenizer*"):
        shutil.copyfile(path, directory / path.name)
    return directory


def test_what_is_wrong_with_the_encoder_is_said_before_the_corpus_is_read(tmp_path: Path):
    encoder = image_model(tmp_path / "vit")
    result = encode(tmp_path / "no-such-corpus.jsonl", tmp_path / "e", encoder)
    assert result.exit_code == 1
    assert result.output.strip().splitlines()[-1].startswith(f"Error: backbone {encoder} is a model of type vit")
    assert not (tmp_path / "e").exists()
    words = ["queries", "--topics", tmp_path / "no-such-topics.tsv", "--encoder", encoder, "--output", tmp_path / "q"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 1
    assert f"Error: backbone {encoder} is a model of type vit" in result.output

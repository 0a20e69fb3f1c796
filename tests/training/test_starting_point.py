"""``--start-from``: a run that begins with a finished checkpoint's weights, of its own kind or of the other."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from moved_checkpoints import write_moved
from safetensors.torch import load_file

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.models.kinds import load_retriever
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.tuned_model import new_tuned_model

Options = Callable[..., TrainOptions]
Moved = Callable[[str, str, Path], Path]
Backbone = Callable[[str], Path]
METHODS = ("full", "bitfit", "prefix", "adapter", "mam", "lora", "iaa-s", "iaa-l", "iaa-m")
# Two texts as pairs, the second padded.
IDS = torch.tensor([[2, 9, 12, 3, 8, 30, 31, 3], [2, 11, 3, 7, 3, 0, 0, 0]])
INPUTS = {"input_ids": IDS, "attention_mask": (IDS != 0).long()}


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Moved:
    """A checkpoint of a kind and method on a backbone, away from where it starts."""
    root, made = tmp_path_factory.mktemp("moved"), {}

    def make(kind: str, method: str, backbone: Path) -> Path:
        path = root / f"{kind}-{method}-{backbone.name}"
        if path not in made:
            made[path] = write_moved(kind, method, backbone, path)
        return path

    return make


def started(kind: str, checkpoint: Path, backbone: Path, method: str, **values: Any) -> Any:
    """The model of a run before its first step."""
    options = TrainOptions.of(
        kind=kind,
        collection="nowhere",
        output="nowhere",
        backbone=str(backbone),
        method=method,
        start_from=str(checkpoint),
        **values,
    )
    return new_tuned_model(TRAINING_KINDS[kind], options.tuning, options.text, "cpu", "fp32").model.eval()


@torch.no_grad()
def equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    """But for the last bits: weights that lie elsewhere in memory may be summed in another order."""
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def last_states(model: Any) -> torch.Tensor:
    states: torch.Tensor = model.backbone(**INPUTS)[0]
    return states


def loaded(path: Path) -> Any:
    """With the attention that training takes on a CPU, for equal bits."""
    model: Any = load_retriever(str(path), precision="fp32", device="cpu")
    model.network.config._attn_implementation = "eager"
    return model


@pytest.mark.parametrize("method", METHODS)
def test_a_bi_encoder_begins_where_it_ended(method: str, moved: Moved, tiny_backbone: Backbone) -> None:
    backbone = tiny_backbone("bert")
    checkpoint = moved("bi-encoder", method, backbone)
    model = started("bi-encoder", checkpoint, backbone, method)
    with torch.no_grad():
        vectors, expected = model(**INPUTS), checkpoint_vectors(checkpoint)
        bare = load_bi_encoder(str(backbone), pooling="mean", normalize=True, precision="fp32")(**INPUTS)
    equal(vectors, expected)
    assert (vectors - bare).abs().max() > 1e-3
    assert model.config.query_max_length == 32 and model.config.document_max_length == 64  # the checkpoint's own


def checkpoint_vectors(path: Path) -> torch.Tensor:
    with torch.no_grad():
        vectors: torch.Tensor = loaded(path)(**INPUTS)
    return vectors


@pytest.mark.parametrize(("method", "model_type"), [*((m, "bert") for m in METHODS), ("iaa-m", "distilbert")])
def test_a_cross_encoder_begins_with_the_states_of_a_bi_encoder(
    method: str, model_type: str, moved: Moved, tiny_backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = tiny_backbone(model_type)
    checkpoint = moved("bi-encoder", method, backbone)
    expected = last_states(loaded(checkpoint))
    with caplog.at_level(logging.INFO):
        for head in ("mean", None):
            model = started("cross-encoder", checkpoint, backbone, method, head=head)
            equal(last_states(model), expected)
            assert f"under a fresh head ({head or 'pooler'})" in caplog.text
    assert any(p.requires_grad for p in model.parameters())
    assert model.config.document_max_length > 64  # of a pair: no length of a bi-encoder's


@pytest.mark.parametrize("method", ["full", "iaa-l", "lora"])
def test_a_cross_encoder_begins_where_it_ended_with_its_head(
    method: str, moved: Moved, tiny_backbone: Backbone
) -> None:
    backbone = tiny_backbone("bert")
    checkpoint = moved("cross-encoder", method, backbone)
    model = started("cross-encoder", checkpoint, backbone, method)
    with torch.no_grad():
        equal(model(**INPUTS), loaded(checkpoint)(**INPUTS))
    under_another_head = started("cross-encoder", checkpoint, backbone, method, head="segments")
    equal(last_states(under_another_head), last_states(loaded(checkpoint)))
    back = started("bi-encoder", checkpoint, backbone, method)
    equal(last_states(back), last_states(loaded(checkpoint)))


def test_a_head_of_ours_and_settings_of_ones_own_are_kept(toy_options: Options, toy: Any, tmp_path: Path) -> None:
    """Through the whole of training: bi-encoder to cross-encoder with segments, and that one further."""
    sizes = {"r": 4, "ar": 3}
    first = train_retriever(
        toy_options(
            "bi-encoder", "bi", max_steps=2, lr=0.05, pooling="cls", normalize=False, query_prefix="ask", **sizes
        )
    ).output
    again = started("bi-encoder", first, toy.backbone, "iaa-l")
    assert (again.config.pooling, again.config.normalize, again.config.query_prefix) == ("cls", False, "ask")
    other = started("bi-encoder", first, toy.backbone, "iaa-l", pooling="mean", query_prefix="")
    assert (other.config.pooling, other.config.normalize, other.config.query_prefix) == ("mean", False, "")
    # A rate that moves nothing but the head's own start: what was taken over is what is saved.
    second = train_retriever(
        toy_options("cross-encoder", "cross", head="segments", start_from=str(first), max_steps=1, lr=1e-12)
    ).output
    record = json.loads((second / "retriever.json").read_text())
    fingerprint = json.loads((first / "retriever.json").read_text())["fingerprint"]
    assert record["training"]["start_from"] == "bi" and record["training"]["start_from_fingerprint"] == fingerprint
    assert record["dimensions"] == sizes and record["query_prefix"] == ""
    assert "| start from | bi |" in (second / "README.md").read_text()
    assert f"start_from: {first}" in (second / "train_config.yaml").read_text()
    before, after = (load_file(path / "adapter_model.safetensors") for path in (first, second))
    renamed = {name.replace("base_model.model.", "base_model.model.bert."): tensor for name, tensor in before.items()}
    assert renamed.keys() == {name for name in after if "relevance_head" not in name}
    assert all(torch.allclose(after[name], tensor, atol=1e-7) for name, tensor in renamed.items())
    third = started("cross-encoder", second, toy.backbone, "iaa-l")
    assert third.config.head == "segments"
    with torch.no_grad():
        assert torch.equal(third(**INPUTS), loaded(second)(**INPUTS))
    assert "start_from" not in json.loads((first / "retriever.json").read_text())["training"]
    load_cross_encoder(str(second))


def test_separate_encoders_begin_with_their_own(toy_options: Options, toy: Any) -> None:
    sizes = {"r": 4, "ar": 3}
    first = train_retriever(toy_options("bi-encoder", max_steps=2, lr=0.05, separate_encoders=True, **sizes)).output
    model = started("bi-encoder", first, toy.backbone, "iaa-l", separate_encoders=True)
    with torch.no_grad():
        queries, passages = model.outputs(INPUTS)
        for ours, theirs in zip((queries, passages), loaded(first).outputs(INPUTS), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)
    assert not torch.equal(queries, passages)
    with pytest.raises(UsageError, match="has separate encoders for queries and passages, and this run trains one enc"):
        started("cross-encoder", first, toy.backbone, "iaa-l")


def test_what_does_not_fit_is_refused_by_both_names(moved: Moved, tiny_backbone: Backbone, tmp_path: Path) -> None:
    bert = tiny_backbone("bert")
    iaa = moved("bi-encoder", "iaa-l", bert)

    def refusal(checkpoint: Path, backbone: Path, method: str, **values: Any) -> str:
        with pytest.raises(UsageError) as raised:
            started("cross-encoder", checkpoint, backbone, method, **values)
        message = str(raised.value)
        assert message.startswith(f"--start-from {checkpoint} ") and "\n" not in message
        return message

    assert "was trained with method iaa-l, and this run trains lora; choose --method iaa-l" in refusal(
        iaa, bert, "lora"
    )
    assert "has r = 4, ar = 3, and this run trains r = 4, ar = 5" in refusal(iaa, bert, "iaa-l", r=4, ar=5)
    assert "has r = 4, ar = 3, and this run trains" in refusal(iaa, bert, "iaa-l", budget="30%")
    other = refusal(iaa, tiny_backbone("roberta"), "iaa-l")
    assert f"is on the backbone {bert} (weights" in other and f"this run's is {tiny_backbone('roberta')} (w" in other
    assert "was trained with scaling 1.0, and this run has 2.0" in refusal(iaa, bert, "iaa-l", scaling=2.0)
    assert "was trained with activation relu, and this run has gelu" in refusal(iaa, bert, "iaa-l", activation="gelu")
    full = moved("bi-encoder", "full", bert)
    assert "give it as --backbone, which iaa-l is then put on" in refusal(full, bert, "iaa-l")
    assert "is no trained checkpoint of this project" in refusal(bert, bert, "iaa-l")
    assert "is no trained checkpoint of this project" in refusal(tmp_path / "nothing", bert, "iaa-l")


def test_dimensions_that_are_said_and_fit_are_taken(moved: Moved, tiny_backbone: Backbone) -> None:
    backbone = tiny_backbone("bert")
    checkpoint = moved("bi-encoder", "iaa-l", backbone)
    model = started("cross-encoder", checkpoint, backbone, "iaa-l", r=4, ar=3, head="mean")
    assert torch.equal(last_states(model), last_states(loaded(checkpoint)))

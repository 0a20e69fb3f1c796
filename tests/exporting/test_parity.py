"""An export that computes something else is refused, wherever it differs, and nothing appears."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import trained

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.exporting.parity import Reference, sample_shapes
from iaa_retrieval.exporting.source import Source, load_source

Backbone = Callable[[str], Path]


@pytest.fixture
def source(tiny_backbone: Backbone) -> Source:
    return load_source(str(trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path))


@pytest.mark.parametrize("wrong", (float("nan"), float("inf"), 1e-3))
def test_one_wrong_number_is_enough(wrong: float, source: Source):
    def run(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        found = source.run(inputs).clone()
        if len(found) == 5:
            found[4, 7] += wrong
        return found

    with pytest.raises(IaaRetrievalError, match=r"the export differs from the model by \S+ for 5x32 tokens"):
        Reference(source).require_equal("the export", run)


def test_what_is_close_passes_and_is_measured(source: Source):
    reference = Reference(source)
    assert reference.require_equal("the export", source.run) == 0.0
    found = reference.require_equal("the export", lambda inputs: source.run(inputs) - 5e-5)
    assert found == pytest.approx(5e-5, rel=1e-2)


def test_another_shape_is_refused(source: Source):
    with pytest.raises(IaaRetrievalError, match=r"gives \[1\] numbers for 1x3 tokens, the model \[1, 32\]"):
        Reference(source).require_equal("the export", lambda inputs: source.run(inputs)[:, 0])


@pytest.mark.parametrize("kind", ("bi-encoder", "cross-encoder"))
def test_the_batches_have_padding_and_many_lengths(kind: str, tiny_backbone: Backbone):
    source = load_source(str(trained(kind, "iaa-l", tiny_backbone("bert")).path))
    batches = Reference(source).batches
    shapes = [tuple(inputs["input_ids"].shape) for inputs in batches]
    assert shapes == sample_shapes(64) == [(1, 3), (2, 17), (5, 32), (3, 64)]
    assert ("token_type_ids" in batches[0]) == (kind == "cross-encoder")
    for inputs in batches[1:]:
        lengths = inputs["attention_mask"].sum(1).tolist()
        assert len(set(lengths)) == len(lengths) and min(lengths) >= 2
        assert torch.equal(inputs["input_ids"] != 0, inputs["attention_mask"] == 1)


@pytest.mark.parametrize("max_length", (3, 16, 17, 20, 40, 512))
def test_shapes_at_every_limit(max_length: int):
    shapes = sample_shapes(max_length)
    assert max(tokens for _, tokens in shapes) == max_length
    assert len({tokens for _, tokens in shapes}) == len(shapes)


def test_weights_that_were_written_wrong_are_noticed(
    exported: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As after PEFT merged layer normalisations and left the task head in its wrapper: right in memory only."""
    from transformers import PreTrainedModel

    save = PreTrainedModel.save_pretrained

    def without_head(self: Any, *arguments: Any, **options: Any) -> None:
        state = {key: value for key, value in self.state_dict().items() if not key.startswith("classifier.")}
        save(self, *arguments, **options, state_dict=state)

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", without_head)
    with pytest.raises(IaaRetrievalError, match="exported as merged differs from the model by"):
        exported("merged", "cross-encoder", "lora")
    assert not (tmp_path / "exported").exists()


def test_separate_encoders_are_compared_both(tiny_backbone: Backbone, tmp_path: Path):
    from exports import separate_checkpoint

    checkpoint, queries, passages = separate_checkpoint(tiny_backbone("bert"), tmp_path / "checkpoint")
    source = load_source(str(checkpoint))
    inputs = Reference(source).batches[1]
    with torch.no_grad():
        expected = np.concatenate([queries(**inputs).numpy(), passages(**inputs).numpy()])
    np.testing.assert_allclose(source.run(inputs).numpy(), expected, atol=1e-6)

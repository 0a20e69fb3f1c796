"""The same properties as in the matrix, on a real backbone: the packaged all-MiniLM-L6-v2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer
from tuning_models import MERGEABLE, PEFT_METHODS, WITH_PREFIX, close, load, randomise, states

from iaa_retrieval.models.backbone import MINILM, resolve_backbone
from iaa_retrieval.tuning.apply import apply_method, count_trainable
from iaa_retrieval.tuning.budget import choose_dimensions
from iaa_retrieval.tuning.methods import get_method, method_names

SHAPE = (384, 6, 22_713_216)
methods = pytest.mark.parametrize("method", PEFT_METHODS)


@pytest.fixture(scope="module")
def minilm() -> Path:
    directory = Path(resolve_backbone(MINILM))
    if not directory.is_dir():
        pytest.skip(f"the package with {MINILM} is not installed")
    return directory


@pytest.fixture(scope="module")
def texts(minilm: Path) -> dict[str, torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    batch = tokenizer(["Vitamin D helps against influenza.", "no"], padding=True, return_tensors="pt")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def dimensions_of(method: str) -> dict[str, int]:
    return {} if method == "full" else choose_dimensions(method, 0.005, *SHAPE)


def tuned(directory: Path, method: str) -> Any:
    torch.manual_seed(0)
    return apply_method(load(directory), method, dimensions_of(method)).eval()


@methods
def test_fresh_and_disabled_equal_the_backbone_bit_for_bit(method: str, minilm: Path, texts: dict[str, torch.Tensor]):
    bare = states(load(minilm), texts)
    model = tuned(minilm, method)
    assert torch.equal(states(model, texts), bare) is (method not in WITH_PREFIX)
    randomise(model, 3, 0.05)
    assert not close(states(model, texts), bare, 1e-3)
    with model.disable_adapter():
        assert torch.equal(states(model, texts), bare)


@methods
def test_reloaded_equals_trained_and_merged_equals_unmerged(
    method: str, minilm: Path, texts: dict[str, torch.Tensor], tmp_path: Path
):
    model = tuned(minilm, method)
    randomise(model, 3, 0.05)
    trained = states(model, texts)
    model.save_pretrained(tmp_path)
    assert torch.equal(states(PeftModel.from_pretrained(load(minilm), tmp_path), texts), trained)
    assert torch.equal(states(AutoModel.from_pretrained(tmp_path), texts), trained)
    if method in MERGEABLE:
        assert close(states(model.merge_and_unload(), texts), trained)
    else:
        with pytest.raises(NotImplementedError, match=method):
            model.merge_and_unload()


@methods
def test_padding_does_not_change_the_result(method: str, minilm: Path, texts: dict[str, torch.Tensor]):
    model = tuned(minilm, method)
    randomise(model, 3, 0.05)
    lengths = texts["attention_mask"].sum(dim=1).tolist()
    alone = {name: values[1:, : lengths[1]] for name, values in texts.items()}
    assert lengths[1] < lengths[0]
    assert close(states(model, texts)[lengths[0] :], states(model, alone))


@pytest.mark.parametrize("method", method_names())
def test_weights_are_counted_exactly(method: str, minilm: Path):
    dimensions = dimensions_of(method)
    counts = count_trainable(tuned(minilm, method), method)
    assert counts["weights"] == get_method(method).weight_count(384, 6, dimensions)
    assert counts["heads"] == 0
    r, ar = dimensions.get("r", 0), dimensions.get("ar", 0)
    inside = 12 * (384 + r)  # one bottleneck after each sub-layer
    biases = {"adapter": inside, "mam": inside // 2}
    biases |= {"iaa-s": inside + 12 * (384 + ar), "iaa-l": inside + 6 * (384 + ar), "iaa-m": inside + 384 + ar}
    assert counts["biases"] == biases.get(method, 0)


@methods
def test_gradients_reach_every_trained_parameter(method: str, minilm: Path, texts: dict[str, torch.Tensor]):
    model = apply_method(load(minilm), method, dimensions_of(method), task_type="FEATURE_EXTRACTION")
    randomise(model, 3, 0.05)
    model(**texts).last_hidden_state[:, 0].sum(dim=0)[:9].sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name

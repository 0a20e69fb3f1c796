"""What ``auto`` resolves to."""

from __future__ import annotations

import pytest
import torch

from iaa_retrieval.models.precision import choose_precision


@pytest.mark.parametrize(("emulated", "native", "chosen"), ((True, False, "fp16"), (True, True, "bf16")))
def test_auto_is_bf16_on_a_gpu_that_multiplies_it_and_not_where_it_is_emulated(
    emulated: bool, native: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
):
    def supported(including_emulation: bool = True) -> bool:  # as PyTorch answers on a T4 or V100, and on an A100
        return emulated if including_emulation else native

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision("auto", "cuda:0") == chosen
    assert choose_precision("bf16", "cuda:0") == "bf16"  # what is asked for is given

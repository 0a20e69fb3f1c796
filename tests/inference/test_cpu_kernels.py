"""The fast kernels give what the modules as they are give, up to bf16 rounding, for every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from iaa_retrieval.inference import cpu_kernels
from iaa_retrieval.inference.cpu_kernels import ATTENTION, PackedLinear, packing_pays, use_cpu_kernels
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.tuning.apply import apply_method

DIMENSIONS = {
    "bitfit": {},
    "prefix": {"prefix_length": 5},
    "adapter": {"r": 4},
    "mam": {"r": 4, "prefix_length": 3},
    "lora": {"r": 4},
    "iaa-s": {"r": 4, "ar": 4},
    "iaa-l": {"r": 4, "ar": 4},
    "iaa-m": {"r": 4, "ar": 4},
}


def batch(rows: int = 7, width: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 50, (rows, width), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, rows):
        mask[row, width - 3 * row :] = 0
    return ids, mask


def tuned(backbone: str, method: str) -> BiEncoder:
    encoder = load_bi_encoder(backbone, pooling="mean", normalize=True, precision="fp32", device="cpu")
    if method != "none":
        encoder.encoder = apply_method(encoder.encoder, method, DIMENSIONS[method])
        generator = torch.Generator().manual_seed(5)
        for parameter in encoder.parameters():
            if parameter.requires_grad:  # away from their start, where they do nothing
                parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return encoder.to(torch.bfloat16).eval()


@pytest.mark.parametrize("method", ["none", *DIMENSIONS])
def test_every_method_keeps_its_vectors(tiny_backbone: Any, method: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu_kernels, "PIECE", 4000)  # several pieces in a batch
    backbone = str(tiny_backbone("bert"))
    plain, fast = tuned(backbone, method), tuned(backbone, method)
    exact = tuned(backbone, method).float()
    use_cpu_kernels(fast)
    with torch.inference_mode():
        wanted, found, reference = (model(*batch()) for model in (plain, fast, exact))
    assert any(isinstance(module, PackedLinear) for module in fast.modules()) == packing_pays(torch.bfloat16)
    # No further from fp32 than the bf16 modules are, but for a little more rounding in attention.
    error = (wanted - reference).abs().max()
    assert (found - reference).abs().max() <= 3 * error + 1e-3


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "electra", "distilbert", "mpnet", "modernbert"])
def test_every_backbone_keeps_its_vectors(tiny_backbone: Any, kind: str):
    backbone = str(tiny_backbone(kind))
    plain, fast = tuned(backbone, "none"), tuned(backbone, "none")
    use_cpu_kernels(fast)
    with torch.inference_mode():
        wanted, found = plain(*batch()), fast(*batch())
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=0)
    assert (fast.encoder.config._attn_implementation == ATTENTION) == (kind not in ("mpnet", "modernbert"))


def test_padding_takes_no_part(tiny_backbone: Any):
    fast = tuned(str(tiny_backbone("bert")), "none")
    use_cpu_kernels(fast)
    ids, mask = batch()
    other = torch.where(mask == 1, ids, 7)
    with torch.inference_mode():
        assert torch.equal(fast(ids, mask), fast(other, mask))


def test_attention_is_softmax_attention():
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(5, 2, 6, 4, generator=generator) for _ in range(3))
    mask = torch.ones(5, 6, dtype=torch.long)
    mask[2:, 4:] = 0
    additive = cpu_kernels._additive_mask(attention_mask=mask, dtype=torch.float32)
    found, _ = cpu_kernels._attend(nn.Identity(), query, key, value, additive)
    wanted = nn.functional.scaled_dot_product_attention(query, key, value, mask[:, None, None, :].bool())
    torch.testing.assert_close(found, wanted.transpose(1, 2))
    assert cpu_kernels._additive_mask(attention_mask=torch.ones(2, 3), dtype=torch.float32) is None


def test_a_cross_encoder_keeps_its_scores(tiny_backbone: Any):
    torch.manual_seed(1)
    plain = new_cross_encoder(str(tiny_backbone("bert"))).to(torch.bfloat16).eval()
    ids, mask = batch()
    with torch.inference_mode():
        wanted = plain(input_ids=ids, attention_mask=mask)
        use_cpu_kernels(plain)
        found = plain(input_ids=ids, attention_mask=mask)
    torch.testing.assert_close(found, wanted, atol=1e-2, rtol=0)


@pytest.mark.parametrize("method", ["none", *DIMENSIONS])
def test_fp32_stays_exact(tiny_backbone: Any, method: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu_kernels, "packing_pays", lambda dtype: True)  # whatever this machine is
    encoder = tuned(str(tiny_backbone("bert")), method).float()
    with torch.inference_mode():
        wanted = encoder(*batch())
        use_cpu_kernels(encoder)
        found = encoder(*batch())
    assert any(isinstance(module, PackedLinear) for module in encoder.modules())
    assert encoder.encoder.config._attn_implementation != ATTENTION
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("capability, packed", [("AVX2", False), ("DEFAULT", False), ("AVX512", True)])
def test_fp32_is_packed_where_that_is_faster(
    tiny_backbone: Any, capability: str, packed: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    encoder = tuned(str(tiny_backbone("bert")), "none").float()
    use_cpu_kernels(encoder)
    assert any(isinstance(module, PackedLinear) for module in encoder.modules()) == packed


def test_pefts_own_methods_keep_their_projections(tiny_backbone: Any, tmp_path: Path):
    encoder = tuned(str(tiny_backbone("bert")), "lora").with_config(method="peft-dora")
    use_cpu_kernels(encoder)
    assert not any(isinstance(module, PackedLinear) for module in encoder.modules())

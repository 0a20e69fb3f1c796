"""sentence-transformers takes our configurations, and saves and loads what it trained with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.version import Version
from peft import __version__ as peft_version
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from transformers.integrations.peft import MIN_PEFT_VERSION
from tuning_models import PEFT_METHODS, Backbone, randomise, sizes_of

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.apply import method_config

# transformers 5.24 asks for a PEFT that is newer than any there is, whatever the adapter.
needs_newer_peft = pytest.mark.skipif(
    Version(peft_version) < Version(MIN_PEFT_VERSION),
    reason=f"this transformers adds adapters with PEFT {MIN_PEFT_VERSION} or newer only; {peft_version} is installed",
)
TEXTS = ["the light of the world", "was it for"]


def sentence_transformer(backbone: Path) -> Any:
    transformer = Transformer(str(backbone))
    return SentenceTransformer(modules=[transformer, Pooling(32, "mean")], device="cpu")


@needs_newer_peft
@pytest.mark.parametrize("backbone", ["bert", "distilbert"])
@pytest.mark.parametrize("method", PEFT_METHODS)
def test_an_adapter_is_added_saved_and_loaded(
    method: str, backbone: str, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    model = sentence_transformer(tiny_backbone(backbone))
    bare = model.encode(TEXTS)
    model.add_adapter(method_config(model[0].auto_model, method, sizes_of(method)))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained and all("default" in name for name in trained)
    randomise(model, 3)
    vectors = model.encode(TEXTS)
    assert not np.allclose(vectors, bare, atol=1e-3)
    model.save(str(tmp_path))
    assert not (tmp_path / "model.safetensors").exists()
    np.testing.assert_allclose(SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS), vectors, atol=1e-6)
    loaded = sentence_transformer(tiny_backbone(backbone))
    loaded.load_adapter(str(tmp_path))
    np.testing.assert_allclose(loaded.encode(TEXTS), vectors, atol=1e-6)


def test_full_fine_tuning_is_no_adapter(tiny_backbone: Backbone) -> None:
    model = sentence_transformer(tiny_backbone("bert"))
    with pytest.raises(UsageError, match="full trains the backbone itself"):
        method_config(model[0].auto_model, "full", {})

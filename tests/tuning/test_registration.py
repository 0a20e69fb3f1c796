"""In a fresh process, importing this package is all that loading one of its adapters takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from tuning_models import Backbone, batch, load, states, tuned

from iaa_retrieval.tuning import registration
from iaa_retrieval.tuning.methods import get_method, method_names

LOAD = """
import sys
import iaa_retrieval
assert "peft" not in sys.modules
import torch
from transformers import AutoModel
inputs = torch.load(sys.argv[2])
model = {load}
with torch.no_grad():
    output = model.eval()(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
torch.save(output, sys.argv[3])
"""
WAYS = (
    "AutoModel.from_pretrained(sys.argv[1])",
    "__import__('peft').PeftModel.from_pretrained(AutoModel.from_pretrained(sys.argv[4]), sys.argv[1])",
)


@pytest.mark.parametrize("way", WAYS)
def test_a_fresh_process_loads_our_adapters(way: str, tiny_backbone: Backbone, tmp_path: Path):
    model = tuned(load(tiny_backbone("bert")), "iaa-l")
    model.save_pretrained(tmp_path / "adapter")
    torch.save(batch(), tmp_path / "inputs")
    script = [sys.executable, "-c", LOAD.format(load=way)]
    paths = [tmp_path / "adapter", tmp_path / "inputs", tmp_path / "output", tiny_backbone("bert")]
    subprocess.run([*script, *map(str, paths)], check=True)
    assert torch.allclose(torch.load(tmp_path / "output"), states(model), atol=1e-6)


def test_any_module_of_ours_may_be_imported_first():
    code = "import iaa_retrieval.tuning.tuners.prefix; import peft; print(peft.PeftType('IAA').value)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "IAA"


def test_the_registry_and_budgets_need_neither_torch_nor_peft():
    code = (
        "import sys\n"
        "from iaa_retrieval.tuning import architectures, budget, methods\n"
        "assert not {'torch', 'peft', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_registering_again_changes_nothing():
    before = dict(PEFT_TYPE_TO_TUNER_MAPPING)
    for name in method_names():
        registration.register_tuners(get_method(name))
    assert before == PEFT_TYPE_TO_TUNER_MAPPING
    assert {"IAA", "BITFIT"} <= {peft_type.value for peft_type in before}

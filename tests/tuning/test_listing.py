"""The registry as text, and the page that is made of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoConfig, AutoModel

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.train import main
from iaa_retrieval.tuning.architectures import ARCHITECTURES
from iaa_retrieval.tuning.families import FAMILIES, QWEN3_PARAMETERS, QWEN3_SIZES
from iaa_retrieval.tuning.listing import COSTS_FILE, methods_page, methods_table, read_costs
from iaa_retrieval.tuning.methods import get_method, method_names, sizes_of

REPOSITORY = Path(__file__).resolve().parents[2]

COSTS: dict[str, Any] = {
    "hardware": "2 CPU cores",
    "versions": {"torch": "2.13.0", "peft": "0.21.2"},
    "date": "2026-11-30",
    "backbone": "all-MiniLM-L6-v2",
    "settings": "batch 32",
    "rows": [
        {
            "method": "lora",
            "budget": "0.5%",
            "kind": "bi-encoder",
            "weights": 119808,
            "biases": 0,
            "checkpoint_bytes": 480_000,
            "train_seconds_per_1000": 12.34,
            "train_seconds_spread": [12.0, 13.0],
            "peak_train_memory_bytes": 1_234_000_000,
            "encode_slowdown": 1.05,
            "encode_slowdown_spread": [1.01, 1.1],
        }
    ],
}


def test_the_committed_page_is_the_generated_one():
    page = methods_page(read_costs(REPOSITORY / COSTS_FILE))
    command = re.search(r"Generated: (.*) -->", page)
    assert command is not None
    assert (REPOSITORY / "docs" / "methods.md").read_text(encoding="utf-8") == page, (
        f"docs/methods.md is not what the registry says; run: {command[1]}"
    )


def test_every_supported_backbone_is_in_the_table():
    listed = [model_type for family in FAMILIES for model_type in family.model_types]
    assert sorted(listed) == sorted(ARCHITECTURES)
    with torch.device("meta"):
        sizes = {"hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8}
        config = AutoConfig.for_model("qwen3", head_dim=128, intermediate_size=3072, vocab_size=151_936, **sizes)
        network = AutoModel.from_config(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == QWEN3_PARAMETERS
    assert sizes_of(config) == QWEN3_SIZES


@pytest.mark.parametrize("arguments", [[], ["bi-encoder"], ["cross-encoder"]])
def test_the_command_prints_both(arguments: list[str]):
    table = CliRunner().invoke(main, [*arguments, "--list-methods"])
    page = CliRunner().invoke(main, [*arguments, "--list-methods", "markdown"])
    assert (table.exit_code, page.exit_code) == (0, 0)
    assert table.output == methods_table()
    assert page.output.startswith("# The tuning methods")


def test_printing_needs_nothing_heavy():
    script = (
        "import sys; from iaa_retrieval.train import main; main(['--list-methods'], standalone_mode=False); "
        "heavy = {'torch', 'transformers', 'peft', 'pyserini', 'yaml'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def words(text: str) -> str:
    """Without the line breaks of a wrapped table."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", method_names())
def test_both_say_all_of_a_method(name: str):
    method = get_method(name)
    place = method.place
    for text in (words(methods_table()), words(methods_page())):
        for fact in (name, method.title, method.paper, place.inserted, place.workspace, place.insertion, place.reads):
            assert fact in text
        for fact in (place.writes, place.parameter_sharing, *method.dimension_names, *method.formula.split("\n")):
            assert words(fact) in text
    assert method.initialisation in methods_page()


def test_lines_of_the_table_fit_a_terminal():
    assert max(map(len, methods_table().splitlines())) <= 110


def test_counts_on_the_page_are_those_of_the_papers():
    page = methods_page()
    assert "| [IAA-L](#iaa-l) | r, ar | 12, 12 | 663,552 | 50, 300 | 7,372,800 | no |" in page
    assert "| [LoRA](#lora) | r | 16 | 589,824 | 200 | 7,372,800 | yes |" in page
    assert "| weights | 102,912 (0.09% of bert-base) |" in page


def test_measured_costs_have_a_place_of_their_own(tmp_path: Path):
    path = tmp_path / "costs.json"
    assert read_costs(path) is None
    path.write_text(json.dumps(COSTS))
    measured, unmeasured = methods_page(read_costs(path)), methods_page(None)
    begin, end = "<!-- measured: begin", "<!-- measured: end -->"
    row = "| lora | 0.5% | 119,808 | 0 | 0.48 | 12.3 [12.0, 13.0] | 1,234 | 1.05 [1.01, 1.10] |"
    assert row in measured[measured.index(begin) : measured.index(end)]
    assert "2 CPU cores" in measured and "torch 2.13.0" in measured
    assert measured[: measured.index(begin)] == unmeasured[: unmeasured.index(begin)]
    assert measured[measured.index(end) :] == unmeasured[unmeasured.index(end) :]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"rows": []}'])
def test_costs_that_are_not(content: str, tmp_path: Path):
    path = tmp_path / "costs.json"
    path.write_text(content)
    with pytest.raises(IaaRetrievalError, match="does not hold measured costs"):
        read_costs(path)

"""Measure what training costs with each method, and write the figure, its data and the table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from iaa_retrieval.analysis.cost import MethodCost, cost_table, cost_text, draw_cost, measure_methods
from iaa_retrieval.analysis.figures import write_report
from iaa_retrieval.analysis.training_cost import STEPS, WARM_UP_STEPS
from iaa_retrieval.device_options import device_field, precision_field
from iaa_retrieval.options import Checked, NamesOf, at_least, one_of, option
from iaa_retrieval.training.losses.loss import KINDS
from iaa_retrieval.training.option_groups import DEFAULT_BUDGET, TuningOptions
from iaa_retrieval.tuning.budget import parse_budget
from iaa_retrieval.tuning.methods import get_method, method_names

NAME = "cost"


@dataclass(frozen=True)
class CostOptions(Checked):
    """What is trained for some steps, with each method."""

    output: str = option(help="Directory for the figure and its data.", type=click.Path(file_okay=False))
    method: tuple[str, ...] = option(
        (), help="Method to measure; repeat for several.", default_text="all", type=NamesOf(method_names)
    )
    kind: str = option(KINDS[0], help="What to train.", check=one_of(*KINDS))
    backbone: str = option(TuningOptions.backbone, help="Pretrained encoder.", metavar="PATH-or-HUB-ID")
    budget: str = option(
        DEFAULT_BUDGET, help="Share of the backbone's parameters, for methods that take one.", metavar="SHARE"
    )
    batch_size: int | None = option(
        None, help="Queries per step.", default_text="that of train", check=at_least(1)
    )  # fmt: skip
    negatives_per_query: int | None = option(
        None, help="Hard negatives per query.", default_text="that of train", check=at_least(0)
    )
    query_tokens: int = option(32, help="Tokens of every query.", check=at_least(3))
    tokens: int = option(128, help="Tokens of every passage (or pair).", check=at_least(3))
    steps: int = option(STEPS, help="Steps that are timed.", check=at_least(1))
    warm_up: int = option(WARM_UP_STEPS, help="Steps before these.", check=at_least(0))
    rounds: int = option(1, help="How often every method is measured, by turns.", check=at_least(1))
    precision: str = precision_field()
    device: str = device_field()


def analyze_cost(options: CostOptions) -> tuple[tuple[MethodCost, ...], str, tuple[Path, ...]]:
    """Write ``cost.png``, ``.svg``, ``.csv`` and ``.txt`` to ``options.output``.

    Returns:
        The costs of each method, the table for readers and the files.

    Raises:
        UsageError: options that a training run would refuse.
        IaaRetrievalError: a backbone that cannot be loaded, or too little memory; a file that cannot be written.
    """
    from iaa_retrieval.models.precision import hardware_class

    parse_budget(options.budget)
    names = options.method or method_names()
    trained = {name: _train(options, name) for name in names}
    words = max(options.query_tokens, options.tokens)
    costs = measure_methods(trained, options.warm_up, options.steps, options.rounds, words)
    first = costs[0].first
    text = cost_text(
        costs,
        f"Measured on {hardware_class()}: a {options.kind} on {Path(options.backbone).name}, {first.precision}, "
        f"batches of {first.batch_size} queries, texts of {options.query_tokens} (queries) and {options.tokens} "
        "tokens.",
    )
    files = write_report(options.output, NAME, draw_cost(costs), cost_table(costs), text)
    return costs, text, files


def _train(options: CostOptions, method: str) -> dict[str, Any]:
    """The options of training with a method; a budget only where it has dimensions to choose."""
    return {
        "kind": options.kind,
        "method": method,
        "backbone": options.backbone,
        "budget": options.budget if get_method(method).dimension_names else None,
        "batch_size": options.batch_size,
        "negatives_per_query": options.negatives_per_query,
        "query_max_length": options.query_tokens,
        "document_max_length": options.tokens,
        "precision": options.precision,
        "device": options.device,
    }

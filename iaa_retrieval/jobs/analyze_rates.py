"""Show how the dev score depends on the learning rate, from saved runs or from a sweep that this runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from iaa_retrieval.analysis.figures import write_report
from iaa_retrieval.analysis.learning_runs import require_same_task
from iaa_retrieval.analysis.rate_sweep import rates_around, run_sweep, untuned_dev_score
from iaa_retrieval.analysis.rate_trials import read_rate_trials
from iaa_retrieval.analysis.rates import WITHIN, Rates, draw_rates, rates, rates_table, rates_text, trials_table
from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import Checked, NamesOf, above, at_least, differing, flag_of, one_of, option, share
from iaa_retrieval.training.losses.loss import KINDS
from iaa_retrieval.training.option_groups import DEV_METRICS
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.tuning.methods import get_method, method_names

NAME = "rates"
_HOLD_OUT = 0.1  # of the training queries, where no dev queries are named
# What a sweep chooses for each of its runs.
_OWN = ("kind", "method", "lr", "output", "max_steps", "resume", "overwrite", "seed", "collection")


@dataclass(frozen=True)
class RatesOptions(Checked):
    """Saved runs to show, or what to train; ``saved`` are checkpoints and ``CONDITION.rates.json`` files."""

    saved: tuple[Path, ...]
    output: str = option(help="Directory for the figure and its data, and for a sweep's runs.", type=click.Path())
    metric: str = option(DEV_METRICS[0], help="Dev score to show.", check=one_of(*DEV_METRICS))
    within: float = option(
        WITHIN, help="The plateau is what loses at most this share of the best score.", check=share()
    )
    reference: float | None = option(
        None,
        help="Dev score without tuning, to compare with.",
        default_text="measured, in a sweep",
        check=share(one=True),
    )
    collection: str | None = option(
        None, help="Train now: ir_datasets id, directory in BEIR layout, or 'embedded'.", metavar="ID-or-DIR"
    )
    kind: str = option(KINDS[0], help="What to train.", check=one_of(*KINDS))
    method: tuple[str, ...] = option(
        (), help="Method to train; repeat for several.", default_text="all", type=NamesOf(method_names)
    )
    steps: int = option(100, help="Steps of each run.", check=at_least(1))
    around: tuple[str, ...] = option(
        (),
        help="Rate in the middle of a method's, such as lora=3e-3; repeat for several.",
        metavar="METHOD=RATE",
        default_text="the method's default",
    )
    decades: float = option(1.0, help="How far the rates go to either side, in powers of ten.", check=above(0))
    per_decade: int = option(2, help="Rates in a power of ten.", check=at_least(1))
    negatives: str | None = option(None, help="TREC run of the training queries.", metavar="RUN")
    seed: int = option(42, help="Seed of everything random.")
    config: str | None = option(
        None, help="YAML file with any other options of train for all runs.", type=click.Path(dir_okay=False)
    )


def analyze_rates(options: RatesOptions) -> tuple[Rates, tuple[Path, ...]]:
    """Write ``rates.png``, ``.svg``, ``.csv``, ``.txt`` and the table as CSV to ``options.output``.

    With a collection, train first: each method with each rate, into ``OUTPUT/runs/METHOD-RATE``.

    Returns:
        What was found, and the files.

    Raises:
        UsageError: neither saved runs nor a collection, or both; options of a sweep without one; runs of different
            tasks; whatever training refuses.
        IaaRetrievalError: damaged runs, or none; a file that cannot be written; whatever training fails at, but for a
            loss that is lost, which is a result.
    """
    saved, reference = list(options.saved), options.reference
    if options.collection is None:
        _require_saved_only(options)
    else:
        if saved:
            raise UsageError("saved runs are shown, and --collection trains new ones; give one of them")
        output = Path(options.output)
        wanted, training = _wanted(options), _training_options(options)
        saved = run_sweep(output, wanted, training)
        if reference is None:
            reference = untuned_dev_score(output, training, options.metric)
    trials = read_rate_trials(saved, options.metric)
    require_same_task(trials)
    found = rates(trials, options.metric, options.within, reference)
    tables = {"numbers": rates_table(found)}
    files = write_report(options.output, NAME, draw_rates(found), trials_table(found), rates_text(found), tables)
    return found, files


def _require_saved_only(options: RatesOptions) -> None:
    if not options.saved:
        raise UsageError("name saved runs, or a --collection to train on")
    of_sweep = ("kind", "method", "steps", "around", "decades", "per_decade", "negatives", "seed", "config")
    given = [flag_of(name) for name in differing(options) if name in of_sweep]
    if given:
        raise UsageError(f"{', '.join(given)} is about training; add --collection, or leave it out")


def _wanted(options: RatesOptions) -> list[tuple[str, float]]:
    """Every method with every rate."""
    names = options.method or method_names()
    centers = {name: get_method(name).learning_rates[options.kind] for name in names}
    for text in options.around:
        name, _, rate = text.partition("=")
        if name not in centers:
            raise UsageError(f"--around {text}: {name!r} is none of the methods {', '.join(centers)}")
        try:
            centers[name] = float(rate)
        except ValueError:
            centers[name] = 0.0
        if not 0 < centers[name] < float("inf"):
            raise UsageError(f"--around {text}: write METHOD=RATE with a rate above 0, such as {name}=1e-3")
    return [
        (name, rate)
        for name, center in centers.items()
        for rate in rates_around(center, options.decades, options.per_decade)
    ]


def _training_options(options: RatesOptions) -> TrainOptions:
    """What all runs have in common, checked as far as that can be before the first one."""
    further = _read_config(options.config) if options.config else {}
    if not further.keys() & {"dev_split", "dev_fraction"}:
        further["dev_fraction"] = _HOLD_OUT
    if options.negatives is not None:
        further["negatives"] = options.negatives
    try:
        training = TrainOptions.of(
            kind=options.kind,
            collection=options.collection,
            output=options.output,
            max_steps=options.steps,
            seed=options.seed,
            dev_metric=options.metric,
            **further,
        )
    except TypeError as error:
        raise UsageError(f"{options.config}: {error}") from error
    training.resolved()
    return training


def _read_config(path: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise UsageError(f"{path} must hold names and values of train's options, such as  batch_size: 16")
    further = {str(name).replace("-", "_"): value for name, value in values.items() if value is not None}
    taken = sorted(further.keys() & {*_OWN, "dev_metric"})
    if taken:
        raise UsageError(f"{path}: {', '.join(taken)} is set by this command; leave it out")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in further.items()}

"""Train methods once with every rate of a row of rates; each run that is finished, or diverged, is kept."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from iaa_retrieval.analysis.rate_trials import DIVERGED_FILE, write_diverged
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.errors import NotFiniteError, UsageError
from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics
from iaa_retrieval.files import OURS, read_json, write_json
from iaa_retrieval.options import changed
from iaa_retrieval.training.option_groups import DEV_METRICS
from iaa_retrieval.training.options import TrainOptions

LOG = logging.getLogger("iaa_retrieval")
SETTINGS_FILE = "sweep.json"
REFERENCE_FILE = "untuned.json"


def rates_around(center: float, decades: float, per_decade: int) -> list[float]:
    """Rates to either side of ``center``, equally far apart on a logarithmic axis, to three digits.

    Args:
        center: one of the rates.
        decades: how far to either side.
        per_decade: how many rates to a factor of ten.
    """
    reach = math.floor(decades * per_decade + 1e-9)
    return [float(f"{center * 10 ** (step / per_decade):.2e}") for step in range(-reach, reach + 1)]


def run_sweep(directory: Path, wanted: Sequence[tuple[str, float]], options: TrainOptions) -> list[Path]:
    """Train each method with each rate into ``directory/runs/METHOD-RATE``.

    Finished runs are reused, an interrupted one is continued, and one whose loss is lost leaves a record instead of a
    checkpoint.

    Args:
        directory: of the sweep.
        wanted: methods with rates.
        options: everything else; its method, rate and output do not matter.

    Returns:
        The directories of all runs, in the order of ``wanted``.

    Raises:
        UsageError: the directory has runs with other options, which the message names; options that contradict each
            other.
        IaaRetrievalError: data that cannot be trained on.
    """
    _require_same_options(directory, options)
    places = []
    for number, (method, rate) in enumerate(wanted, start=1):
        place = directory / "runs" / f"{method}-{rate:g}"
        places.append(place)
        if (place / OURS).is_file() or (place / DIVERGED_FILE).is_file():
            continue
        LOG.info("run %d of %d: %s at %g", number, len(wanted), method, rate)
        _train(place, changed(options, method=method, lr=rate, output=str(place), resume=True))
    return places


def _train(place: Path, options: TrainOptions) -> None:
    from iaa_retrieval.training.run import train_retriever

    try:
        train_retriever(options)
    except NotFiniteError as error:
        LOG.warning("%s at %g diverged: %s", options.tuning.method_name, options.optimisation.lr, error)
        write_diverged(place, options.kind, options.tuning.method_name, float(options.optimisation.lr or 0), str(error))
        shutil.rmtree(place.with_name(f".{place.name}.training"), ignore_errors=True)  # nothing to continue


def _require_same_options(directory: Path, options: TrainOptions) -> None:
    from iaa_retrieval.training.output import plain

    apart = ("method", "lr", "output", "resume", "overwrite", "report_to")
    said = {name: value for name, value in plain(options).items() if name not in apart}
    path = directory / SETTINGS_FILE
    if not path.is_file():
        write_json(path, said)
        return
    begun = read_json(path)
    differing = sorted(name for name in {*said, *begun} if said.get(name) != begun.get(name))
    if differing:
        raise UsageError(
            f"the runs in {directory} were made with another {', '.join(differing)}; use the same, or another --output"
        )


def untuned_dev_score(directory: Path, options: TrainOptions, metric: str) -> float | None:
    """The dev score before tuning: of the bare encoder, or for a cross-encoder of the first stage that it re-ranks.

    It is measured on the dev queries of a run with ``options``, and kept in ``directory/untuned.json``.

    Returns:
        From 0 to 1; None where the first stage of a cross-encoder is not known.
    """
    path = directory / REFERENCE_FILE
    if path.is_file():
        kept: dict[str, float] = read_json(path)
        return kept.get(metric)
    scores = _measure_untuned(options)
    write_json(path, scores)
    return scores.get(metric)


def _measure_untuned(options: TrainOptions) -> dict[str, float]:
    from iaa_retrieval.collections.runs import read_run
    from iaa_retrieval.models.precision import choose_device, choose_precision
    from iaa_retrieval.training.judgments import load_judgments
    from iaa_retrieval.training.kinds import TRAINING_KINDS
    from iaa_retrieval.training.loop import make_dev_evaluator
    from iaa_retrieval.training.tuned_model import new_untuned_model

    kind, run_file = TRAINING_KINDS[options.kind], options.data.negatives_run
    if kind.compares_within_query and not (run_file or options.dev.dev_run):
        return {}
    device = choose_device(options.device)
    judgments = load_judgments(options.data, options.dev, options.seed)
    model = new_untuned_model(kind, options.tuning.backbone, options.text)
    model.to(device)
    if kind.compares_within_query:  # its head is random before training
        kind = replace(kind, dev_evaluator=_first_stage)
    run = read_run(run_file) if run_file else {}
    precision = choose_precision(options.precision, device)
    evaluate_dev = make_dev_evaluator(kind, model, judgments, run, options.dev, options.seed, precision)
    return evaluate_dev() if evaluate_dev else {}


def _first_stage(
    model: Any, collection: Any, qrels: Qrels, hits: Run, *settings: Any
) -> Callable[[], dict[str, float]]:
    """A dev evaluator that scores the hits as they are."""

    def evaluate_dev() -> dict[str, float]:
        judged = {query_id: grades for query_id, grades in qrels.items() if query_id in hits}
        per_metric = evaluate(judged, hits, parse_metrics(" ".join(DEV_METRICS)))
        return {name: mean(values) for name, values in per_metric.items()}

    return evaluate_dev

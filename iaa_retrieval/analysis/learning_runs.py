"""What training runs logged, read from checkpoints and from committed results of reproductions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.tuning.methods import method_names

HISTORY_FILE = "history.json"
RATES_SUFFIX = ".rates.json"
# Which kind of model the stages of reproductions train.
KIND_OF_STAGE = {"retrieval": "bi-encoder", "reranking": "cross-encoder"}
# What must be the same for the losses of two runs to be of the same thing; the rest tells methods and runs apart.
_SAME_TASK = (
    "collection split queries loss negatives negatives_per_query teacher distillation distillation_weight "
    "teacher_temperature batch_size temperature"
).split()
# Of two runs that differ in these alone, one repeats the other.
_OF_A_REPETITION = ("seed", "torch_threads")


class Described(Protocol):
    """What a run says about itself; ``LearningRun`` says what each is."""

    @property
    def source(self) -> str:
        """Where it was read from."""

    @property
    def method(self) -> str:
        """Its name."""

    @property
    def task(self) -> Mapping[str, Any]:
        """What must agree."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What else was chosen."""


@dataclass(frozen=True)
class LearningRun:
    """What one run logged.

    Attributes:
        source: the path it was read from, with the seed where a file holds several.
        method: its name.
        seed: None where it is not known.
        task: what must agree with another run's for the two to be compared; what is not known is left out.
        settings: everything else that was chosen: dimensions, learning rate, steps, ...
        loss: the training loss by optimiser step, each a mean over the steps since the one before.
        dev: metric -> score of the dev queries by step; empty without dev queries.
    """

    source: str
    method: str
    seed: int | None
    task: Mapping[str, Any]
    settings: Mapping[str, Any]
    loss: Mapping[int, float]
    dev: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


def read_learning_runs(paths: Sequence[str | Path]) -> tuple[list[LearningRun], list[str]]:
    """Read checkpoints (directories) and results of reproductions (``CONDITION.json``, a run for each seed).

    Returns:
        The runs in the order of the paths, and the names of files that were left out because they hold no history:
        nothing was trained there, or they are scores of learning rates.

    Raises:
        UsageError: a path that is neither.
        IaaRetrievalError: a damaged file, a checkpoint without its history or with a history without a loss; no run
            at all.
    """
    runs: list[LearningRun] = []
    left_out = []
    for path in map(Path, paths):
        if path.is_dir():
            runs.append(_of_checkpoint(path))
        elif not path.is_file():
            raise UsageError(f"there is no run {path}; name a checkpoint directory or a results file (CONDITION.json)")
        elif path.name.endswith(RATES_SUFFIX):
            left_out.append(path.name)
        elif found := _of_results(path):
            runs += found
        else:
            left_out.append(path.name)
    if not runs:
        raise IaaRetrievalError(f"no run was trained among {', '.join(left_out)}; name a trained one")
    return runs, left_out


def require_same_task(runs: Sequence[Described]) -> None:
    """Refuse runs whose losses and dev scores are of different things.

    Raises:
        UsageError: names the first two runs that differ, and in what.
    """
    known: dict[str, Described] = {}
    for run in runs:
        for name, value in run.task.items():
            other = known.setdefault(name, run)
            if other.task[name] != value:
                raise UsageError(
                    f"{other.source} and {run.source} cannot be compared: {name.replace('_', ' ')} is "
                    f"{other.task[name]} and {value}; compare runs that differ in what is tuned"
                )


def unchecked(runs: Sequence[Described]) -> list[str]:
    """What is known of some runs only, so that nobody checked whether it is the same for all."""
    names = dict.fromkeys(name for run in runs for name in run.task)
    return [name for name in names if any(name not in run.task for run in runs)]


def method_of_condition(condition: str) -> str:
    """The method in a condition's name, such as ``iaa-l`` of ``iaa-l-0.5``; the whole name where it has none."""
    fitting = [name for name in method_names() if condition == name or condition.startswith(f"{name}-")]
    return max(fitting, key=len, default=condition)


def read_config(directory: Path) -> RetrieverConfig:
    """The ``retriever.json`` of a trained checkpoint.

    Raises:
        UsageError: the directory is no trained checkpoint.
    """
    config = read_retriever_config(directory)
    if config is None or config.is_untuned:
        raise UsageError(f"{directory} is no trained checkpoint (it has no retriever.json of one); name one")
    return config


def settings_of(config: RetrieverConfig) -> dict[str, Any]:
    """All that was chosen for a run but its task and what differs between repetitions."""
    others = {k: v for k, v in config.training.items() if k not in (*_SAME_TASK, *_OF_A_REPETITION)}
    return {**config.dimensions, **others, "separate_encoders": config.separate_encoders}


def task_of(config: RetrieverConfig) -> dict[str, Any]:
    """What a run was trained for, on and with, by name."""
    said = {name: config.training[name] for name in _SAME_TASK if name in config.training}
    return {"kind": config.kind, "backbone": _backbone(config), **said}


def task_of_reproduction(path: Path) -> dict[str, Any]:
    """What the place of ``results/COLLECTION/STAGE/FILE`` says about a run's task."""
    stage, collection = path.absolute().parent.name, path.absolute().parent.parent.name
    kind = {"kind": KIND_OF_STAGE[stage]} if stage in KIND_OF_STAGE else {}
    return {**kind, "reproduced collection": collection}


def _backbone(config: RetrieverConfig) -> str:
    # The fingerprint decides; the name is for people.
    return f"{config.backbone} ({config.backbone_fingerprint[:12]})"


def _of_checkpoint(directory: Path) -> LearningRun:
    config = read_config(directory)
    path = directory / HISTORY_FILE
    if not path.is_file():
        raise IaaRetrievalError(
            f"{directory} has no {HISTORY_FILE}, which training leaves beside a checkpoint; name the directory that "
            "training wrote, or the results file of its condition"
        )
    loss, dev = _curves(read_json(path), path)
    return LearningRun(
        source=str(directory),
        method=config.method,
        seed=config.training.get("seed"),
        task=task_of(config),
        settings=settings_of(config),
        loss=loss,
        dev=dev,
    )


def _of_results(path: Path) -> list[LearningRun]:
    """A run for each seed of ``results/COLLECTION/STAGE/CONDITION.json``; none where nothing was trained."""
    content = read_json(path)
    try:
        histories = {int(seed): values["history"] for seed, values in content["seeds"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IaaRetrievalError(f"{path} is no result of a reproduction: {error}; run the condition again") from error
    runs = []
    for seed, history in histories.items():
        if not history:
            continue
        loss, dev = _curves(history, path)
        method = method_of_condition(path.stem)
        settings = {"condition": path.stem}  # the seeds of a condition differ in nothing else
        task = task_of_reproduction(path)
        runs.append(LearningRun(f"{path} (seed {seed})", method, seed, task, settings, loss, dev))
    return runs


def _curves(entries: Iterable[Mapping[str, Any]], path: Path) -> tuple[dict[int, float], dict[str, dict[int, float]]]:
    """Loss and dev scores by step, of a history as training or as a reproduction keeps it."""
    loss: dict[int, float] = {}
    dev: dict[str, dict[int, float]] = {}
    try:
        for entry in sorted(entries, key=lambda logged: int(logged["step"])):
            for name, value in entry.items():
                if name == "loss":
                    loss[int(entry["step"])] = float(value)
                elif "@" in name:
                    dev.setdefault(name.removeprefix("eval_"), {})[int(entry["step"])] = float(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IaaRetrievalError(f"{path} is no training history: {type(error).__name__} {error}") from error
    if not loss:
        raise IaaRetrievalError(f"{path} holds no training loss; it is logged every 10 steps, so train for longer")
    return loss, dev

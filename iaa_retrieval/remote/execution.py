"""One unit on the other machine, in a process of its own: its commands, then what of their outcome comes back."""

from __future__ import annotations

import datetime
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iaa_retrieval._version import __version__
from iaa_retrieval.errors import IaaRetrievalError, NotFiniteError
from iaa_retrieval.evaluation.metrics import parse_metrics
from iaa_retrieval.files import atomic_directory, write_json
from iaa_retrieval.process import prepare_process
from iaa_retrieval.remote.collections import use_bundled_collections
from iaa_retrieval.remote.places import CHECKPOINT, UNIT_RECORD, Places
from iaa_retrieval.remote.units import ROW, SHARED, TRIAL, Unit, words_of
from iaa_retrieval.reproduction.checkpoints import ADAPTER, ADAPTER_CONFIG
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.rate_search import dev_score
from iaa_retrieval.reproduction.results import PerQuery, read_history
from iaa_retrieval.reproduction.runner import score_run
from iaa_retrieval.reproduction.steps import CommandStep
from iaa_retrieval.versions import code_fingerprint, library_versions

AS_STATED = "as stated"  # training in the precision that the command states


@dataclass(frozen=True)
class Work:
    """One unit with all that its process needs to know; plain values, to be sent to it.

    Attributes:
        key: under which its outcome is kept.
        device: ``cpu``, ``cuda:0``, ... or ``auto``.
        training_precision: ``bf16`` and so on, or ``AS_STATED``.
    """

    unit: Unit
    key: str
    bundle: Path
    device: str
    training_precision: str

    @property
    def places(self) -> Places:
        """The folders of the bundle."""
        return Places(self.bundle)


def run_unit(work: Work) -> None:
    """Run a unit's commands and keep what comes back of it in ``finished/KEY``; what it prints is in its log.

    The process ends with an exit code other than 0 where a command failed.
    """
    log = work.places.log(work.unit.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    prepare_process()
    os.chdir(work.places.backbones)
    use_bundled_collections(work.places.collections)
    try:
        _run(work)
    except IaaRetrievalError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def _run(work: Work) -> None:
    unit, directory = work.unit, work.places.outputs(work.unit.reproduction)
    started = time.monotonic()
    trained, training_seconds = None, None
    for step in unit.steps:
        begun = time.monotonic()
        try:
            run_step(step, directory, work.device, work.training_precision, depth_of(work, step))
        except SystemExit as ended:
            # A verb has said what is wrong and exits; behind that is the error itself.
            if not (step.trains and unit.kind == TRIAL and isinstance(ended.__context__, NotFiniteError)):
                raise
            print(f"# {step.name}: diverged, so this rate has no score", flush=True)
            break
        seconds = round(time.monotonic() - begun, 1)
        print(f"# {step.name}: {seconds} s", flush=True)
        if step.trains:
            trained, training_seconds = directory / step.name, seconds
    per_query = _score(work) if unit.kind == ROW else {}
    with atomic_directory(work.places.finished / work.key) as kept:
        if trained is not None and unit.kind == ROW and (trained / ADAPTER).is_file():
            keep_adapter(trained, kept / CHECKPOINT)
        record = {
            "key": work.key,
            "kind": unit.kind,
            "reproduction": unit.reproduction,
            "stage": unit.stage,
            "condition": unit.condition,
            "seed": unit.seed,
            "rate": unit.rate,
            "commands": unit.commands,
            "training_precision": work.training_precision,
            "seconds": training_seconds,
            "unit_seconds": round(time.monotonic() - started, 1),
            "history": read_history(trained) if trained else [],
            "dev_score": _dev_score(work, trained) if trained and unit.kind == TRIAL else None,
            "per_query": per_query,
            "code": code_fingerprint(),
            "environment": _environment(work),
        }
        write_json(kept / UNIT_RECORD, record)
    if unit.kind != SHARED:  # of no more use, and full fine-tuning's take much room
        for step in unit.steps:
            output = directory / step.name
            shutil.rmtree(output) if output.is_dir() else output.unlink(missing_ok=True)


def run_step(
    step: CommandStep, directory: Path, device: str, training_precision: str = AS_STATED, depth: int | None = None
) -> None:
    """Run one command in this process, with the bundle's exact search in place of Faiss.

    Args:
        directory: of the outputs.
        depth: hits of a dense search that are enough; None is what the command says.

    Raises:
        SystemExit: it failed; the reason is on standard error.
        IaaRetrievalError: likewise, with the reason.
    """
    words = words_of(CommandStep(step.name, step.command_in(directory)))
    verb, rest = words[0], words[1:]
    print(f"$ {shlex.join(words)}", flush=True)
    if verb == "encode":
        from iaa_retrieval.remote.exact_search import encode_plainly

        encode_plainly(rest, device)
    elif verb == "search":
        from iaa_retrieval.remote.exact_search import search_exactly

        search_exactly(rest[1:], device, depth)
    else:
        if "--device" not in rest:
            rest += ["--device", device]
        if verb == "train":
            rest = with_precision(rest, training_precision)
        _verb(verb).main(args=rest, standalone_mode=False)


def with_precision(words: Sequence[str], precision: str) -> list[str]:
    """The words of a training command with another precision; click takes the last one."""
    return list(words) if precision == AS_STATED else [*words, "--precision", precision]


def _verb(name: str) -> Any:
    from iaa_retrieval import rerank, train

    return {"rerank": rerank, "train": train}[name].main


def depth_of(work: Work, step: CommandStep) -> int | None:
    """How many hits the metrics of a row look at, of the step that makes its run; None where all may count."""
    unit = work.unit
    topics = next((topics for topics, name in unit.runs.items() if name == step.name), None)
    if topics is None or any(step.name in other.needs for other in unit.steps):
        return None
    plan = _plan(work)
    cutoffs = [metric.cutoff for metric in parse_metrics(" ".join(plan.columns[topics]))]
    known = [cutoff for cutoff in cutoffs if cutoff is not None]
    return max(known) if len(known) == len(cutoffs) else None


def keep_adapter(trained: Path, target: Path) -> None:
    """Copy an adapter with its record, in fp16 as committed ones are, without the backbone's tokenizer."""
    import torch
    from safetensors.torch import load_file, save_file

    target.mkdir(parents=True)
    for name in (ADAPTER_CONFIG, "retriever.json", "history.json"):
        shutil.copyfile(trained / name, target / name)
    weights = load_file(trained / ADAPTER)
    halves = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
    save_file(halves, target / ADAPTER, metadata={"format": "pt"})


def _score(work: Work) -> PerQuery:
    plan, directory = _plan(work), work.places.outputs(work.unit.reproduction)
    return {
        topics: score_run(plan.reproduction.topic_sets[topics], directory / run, plan.columns[topics])
        for topics, run in work.unit.runs.items()
    }


def _dev_score(work: Work, trained: Path) -> float:
    search = _plan(work).table.rate_search
    assert search is not None, "only a stage with a search has trials"
    return dev_score(trained, search.metric)


def _plan(work: Work) -> Any:
    unit = work.unit
    reproduction = load_reproduction(unit.reproduction, work.places.reproductions)
    return reproduction.select(unit.condition, unit.stage)[0]


def _environment(work: Work) -> dict[str, Any]:
    """Date, class of machine and versions, as results keep them, with what is special about this one."""
    from iaa_retrieval.models.precision import hardware_class

    python, *others = library_versions().items()
    versions = dict([python, ("iaa-retrieval", __version__), *others])
    trained = "" if work.training_precision == AS_STATED else f", trained in {work.training_precision}"
    return {
        "date": datetime.date.today().isoformat(),
        "hardware": f"{hardware_class()}{trained}, backbone rounded to fp16",
        "versions": versions,
    }

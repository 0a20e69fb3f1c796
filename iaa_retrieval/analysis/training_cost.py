"""What training steps of one method cost in the process that takes them."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iaa_retrieval.training.options import ResolvedHyperparameters, TrainOptions

if TYPE_CHECKING:
    from torch import nn

    from iaa_retrieval.training.data import TrainingData
    from iaa_retrieval.training.tuned_model import TunedModel

WARM_UP_STEPS, STEPS = 2, 5
_PROCESS_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class TrainingCost:
    """The costs of one method.

    Attributes:
        dimensions: of the method.
        trainable_parameters: trained numbers by kind (weights, biases, heads).
        optimizer_bytes: of AdamW's state.
        loaded_bytes: the most memory in use before the first step: on a CPU the resident size of the whole process, on
            a GPU what is allocated there.
        peak_bytes: the same until after the last step.
        step_seconds: of each step after the warm-up.
        checkpoint_bytes: of the saved weights.
        batch_size: queries in a step.
        precision: of the forward pass.
        device: such as ``cpu``.
    """

    dimensions: dict[str, int]
    trainable_parameters: dict[str, int]
    optimizer_bytes: int
    loaded_bytes: int
    peak_bytes: int
    step_seconds: list[float]
    checkpoint_bytes: int
    batch_size: int
    precision: str
    device: str


def measure_training(
    options: TrainOptions,
    queries: Sequence[str],
    passages: Sequence[str],
    warm_up: int = WARM_UP_STEPS,
    steps: int = STEPS,
) -> tuple[TrainingCost, TunedModel]:
    """Take some training steps in this process, as a training run does, and measure them.

    Args:
        options: what is trained and how; its data, dev queries, output and number of steps do not matter.
        queries: the texts of the queries, taken in turn.
        passages: likewise; a query's negatives come from the part behind all positives.
        warm_up: steps that are not timed.
        steps: steps that are.

    Returns:
        The costs, and the model as the steps left it.

    Raises:
        UsageError: a method, dimensions or lengths that cannot be meant.
        IaaRetrievalError: a backbone that cannot be loaded.
    """
    from iaa_retrieval.models.precision import choose_device, choose_precision
    from iaa_retrieval.training.kinds import TRAINING_KINDS
    from iaa_retrieval.training.tuned_model import new_tuned_model

    hyper, kind = options.resolved(), TRAINING_KINDS[options.kind]
    device = choose_device(options.device)
    precision = choose_precision(options.precision, device)
    tuned = new_tuned_model(kind, options.tuning, options.text, device, precision, options.memory)
    objective = kind.objective(tuned.model, hyper, options.objective).train()
    loaded = peak_bytes(device)
    seconds, optimizer_bytes = _take_steps(
        objective, _batches(options, hyper, tuned, queries, passages, warm_up + steps), device, precision
    )
    cost = TrainingCost(
        dimensions=tuned.dimensions,
        trainable_parameters=tuned.trainable_parameters,
        optimizer_bytes=optimizer_bytes,
        loaded_bytes=loaded,
        peak_bytes=peak_bytes(device),
        step_seconds=seconds[warm_up:],
        checkpoint_bytes=_checkpoint_bytes(tuned.model.networks),
        batch_size=hyper.batch_size,
        precision=precision,
        device=device,
    )
    return cost, tuned


def peak_bytes(device: str) -> int:
    """The most memory that was in use so far: allocated on a GPU, or resident of this process on a CPU."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    if _PROCESS_STATUS.is_file():
        # What getrusage says begins, in a child process, with the size that its parent had.
        fields = dict(line.split(":", 1) for line in _PROCESS_STATUS.read_text(encoding="utf-8").splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _batches(
    options: TrainOptions,
    hyper: ResolvedHyperparameters,
    tuned: TunedModel,
    queries: Sequence[str],
    passages: Sequence[str],
    steps: int,
) -> list[dict[str, Any]]:
    from iaa_retrieval.training.data import ExampleDataset
    from iaa_retrieval.training.kinds import TRAINING_KINDS

    kind, count, negatives = TRAINING_KINDS[options.kind], hyper.batch_size * steps, hyper.negatives_per_query
    data = _training_data(queries, passages, count, negatives)
    length = options.text.train_max_length or tuned.model.config.document_max_length
    collator = kind.collator(tuned.model, data, length)
    examples = ExampleDataset(data, negatives, options.seed, needs_negatives=kind.compares_within_query)
    ends = range(0, count, hyper.batch_size)
    return [collator([examples[number] for number in range(start, start + hyper.batch_size)]) for start in ends]


def _training_data(queries: Sequence[str], passages: Sequence[str], count: int, negatives: int) -> TrainingData:
    from iaa_retrieval.training.data import TrainingData

    return TrainingData(
        queries={str(n): queries[n % len(queries)] for n in range(count)},
        passages={str(n): passages[n % len(passages)] for n in range(count * (1 + negatives))},
        positives={str(n): [str(n)] for n in range(count)},
        negatives={str(n): [str(n + count * (1 + place)) for place in range(negatives)] for n in range(count)},
    )


def _take_steps(
    objective: nn.Module, batches: Sequence[dict[str, Any]], device: str, precision: str
) -> tuple[list[float], int]:
    """The seconds of each step, and the bytes of the optimiser's state."""
    import torch

    from iaa_retrieval.models.precision import DTYPES

    on = torch.device(device)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=1e-5)
    seconds = []
    for batch in batches:
        start = time.perf_counter()
        inputs = {name: value.to(on) for name, value in batch.items()}
        with torch.autocast(on.type, DTYPES[precision], enabled=precision != "fp32"):
            loss = objective(**inputs)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if on.type == "cuda":
            torch.cuda.synchronize(on)
        seconds.append(time.perf_counter() - start)
    states = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    return seconds, sum(value.nbytes for value in states)


def _checkpoint_bytes(networks: Sequence[Any]) -> int:
    from iaa_retrieval.models.checkpoint import save_networks

    with tempfile.TemporaryDirectory() as directory:
        save_networks(networks, Path(directory))
        return sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())

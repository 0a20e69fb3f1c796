"""The loss around trained checkpoints, on the same fixed batches of training examples for all of them."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iaa_retrieval.analysis.loss_landscape import (
    Landscape,
    filter_normalised,
    mean_rise,
    surface_row,
    top_eigenvalue,
)
from iaa_retrieval.analysis.trained_parameters import trained_parameters
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.models.kinds import load_retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.options import flag_of
from iaa_retrieval.training.data import Example, TrainingData
from iaa_retrieval.training.judgments import load_judgments, make_examples, mine_training_data
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.options import TrainOptions

LOG = logging.getLogger("iaa_retrieval")

# What the loss of a training depends on besides its data: the option, and its name in the record of a checkpoint.
RECORDED = ("loss", "temperature", "batch_size", "negatives_per_query")


@dataclass(frozen=True)
class Grid:
    """What is computed of each checkpoint.

    Attributes:
        values: the multiples of either direction.
        radius: at which sharpness is measured.
        directions: how many sharpness is the mean over.
        eigenvalue: whether the Hessian's largest eigenvalue is wanted.
        seed: of the directions.
    """

    values: tuple[float, ...]
    radius: float
    directions: int
    eigenvalue: bool
    seed: int


@dataclass(frozen=True)
class Surface:
    """What was computed of one checkpoint; a loss is None where it was not finite.

    Attributes:
        checkpoint: as it was named.
        method: that it was tuned with.
        grid: what was computed.
        parameters: the number of trained ones.
        losses: at ``w + a d + b e``; one row for every a of the grid, in it one loss for every b.
        loss: at the checkpoint's own weights w.
        rise: of the loss at the radius, mean over directions; ``spread`` is their standard deviation.
        eigenvalue: the Hessian's largest in size; None where it was not asked for.
        converged: whether power iteration came to its end with it.
    """

    checkpoint: str
    method: str
    grid: Grid
    parameters: int
    losses: list[list[float | None]]
    loss: float | None
    rise: float | None
    spread: float | None
    eigenvalue: float | None
    converged: bool | None


class Batches:
    """The same examples, drawn by seed from the training split, as batches for each checkpoint.

    A last batch that is smaller than the others would have fewer in-batch negatives, and is left out.

    Args:
        options: of a training of this kind on this data.
        examples: how many.
    """

    def __init__(self, options: TrainOptions, examples: int) -> None:
        self.options, self.hyper = options, options.resolved()
        kind = TRAINING_KINDS[options.kind]
        judgments = load_judgments(options.data, options.dev, options.seed)
        run = read_run(options.data.negatives_run) if options.data.negatives_run else {}
        self.data: TrainingData = mine_training_data(kind, options.data, judgments, run, self.hyper.negatives_per_query)
        dataset = make_examples(kind, self.data, self.hyper, options.seed, processes=1)
        size = min(self.hyper.batch_size, len(dataset))
        count = max(min(examples, len(dataset)) // size, 1) * size
        drawn = random.Random(options.seed).sample(range(len(dataset)), count)
        chosen = [dataset[number] for number in drawn]
        self.batches: list[list[Example]] = [chosen[start : start + size] for start in range(0, count, size)]
        LOG.info("the loss is measured on %d training examples in %d batches", count, len(self.batches))

    def landscape(self, path: str, device: str) -> tuple[Landscape, RetrieverConfig]:
        """The loss on the batches as a function of what was trained of a checkpoint, without dropout, in fp32."""
        kind, options = TRAINING_KINDS[self.options.kind], self.options
        model = load_retriever(path, kind=kind.name, precision="fp32", device=device)
        parameters = list(trained_parameters(model).values())
        for parameter in parameters:
            parameter.requires_grad_(True)
        objective = kind.objective(model, self.hyper, options.objective).eval()
        collator = kind.collator(model, self.data, options.text.train_max_length or model.config.document_max_length)
        inputs = [
            {name: value.to(model.device) for name, value in collator(examples).items()} for examples in self.batches
        ]
        return Landscape(parameters, [partial(_loss, objective, batch) for batch in inputs]), model.config


def _loss(objective: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    loss: Tensor = objective(**batch)["loss"]
    return loss


def read_configs(checkpoints: Sequence[str]) -> list[RetrieverConfig]:
    """The settings of checkpoints, which must be of one kind.

    Raises:
        UsageError: they are of several, or one is no checkpoint of ours.
    """
    configs = []
    for path in checkpoints:
        config = read_retriever_config(path)
        if config is None or config.is_untuned:
            raise UsageError(f"{path} is no checkpoint of a training (it has no retriever.json); give one")
        configs.append(config)
        if config.kind != configs[0].kind:
            raise UsageError(
                f"{checkpoints[0]} is a {configs[0].kind} and {path} a {config.kind}; compare checkpoints of one kind"
            )
        if config.training.get("teacher"):
            LOG.warning("%s learnt from a teacher; its loss here is that of the judgments alone", path)
    return configs


def common_settings(
    checkpoints: Sequence[str], configs: Sequence[RetrieverConfig], given: Mapping[str, Any]
) -> dict[str, Any]:
    """What all checkpoints were trained with, of ``RECORDED``, unless it is given.

    Raises:
        UsageError: they were trained with different ones, so that their losses would not be the same function.
    """
    settings = {}
    for name in RECORDED:
        recorded = [config.training.get(name) for config in configs]
        if given.get(name) is not None:
            settings[name] = given[name]
        elif any(value != recorded[0] for value in recorded):
            other = next(number for number, value in enumerate(recorded) if value != recorded[0])
            raise UsageError(
                f"{checkpoints[0]} was trained with {flag_of(name)} {recorded[0]} and {checkpoints[other]} with "
                f"{recorded[other]}; give the {flag_of(name)} that all losses shall be measured with"
            )
        elif recorded[0] is not None:
            settings[name] = recorded[0]
    return settings


def measure_surface(batches: Batches, path: str, device: str, grid: Grid, work: Path, key: str) -> Surface:
    """The surface and sharpness of one checkpoint; what is in ``work`` already is not computed again.

    Args:
        work: directory of work in progress.
        key: begins the names of this checkpoint's files in it.

    Raises:
        IaaRetrievalError: the checkpoint cannot be loaded, or its own loss is not finite.
    """
    landscape, config = batches.landscape(path, device)
    random_numbers = torch.Generator().manual_seed(grid.seed)
    first, second = (filter_normalised(landscape.parameters, random_numbers) for _ in range(2))

    def kept(name: str, compute: Any) -> Any:
        file = work / f"{key}-{name}.json"
        if not file.is_file():
            write_json(file, compute())
        return read_json(file)

    centre = kept("loss", landscape.loss)
    if centre is None:
        raise IaaRetrievalError(f"the loss of {path} is not finite on these examples; look at the training's history")
    rows = [
        kept(f"row-{number}", partial(surface_row, landscape, first, second, a, grid.values))
        for number, a in enumerate(grid.values)
    ]
    again = torch.Generator().manual_seed(grid.seed + 1)  # so that sharpness is the same after an interruption
    rise, spread, _ = kept("rise", partial(mean_rise, landscape, grid.radius, grid.directions, again))
    eigenvalue, converged = None, None
    if grid.eigenvalue:
        again = torch.Generator().manual_seed(grid.seed + 2)
        eigenvalue, _, converged = kept("eigenvalue", partial(top_eigenvalue, landscape, again))
        if not converged:
            LOG.warning("%s: power iteration did not settle; its largest eigenvalue is a lower bound in size", path)
    count = sum(parameter.numel() for parameter in landscape.parameters)
    return Surface(path, config.method, grid, count, rows, centre, rise, spread, eigenvalue, converged)


def save_surfaces(path: Path, surfaces: Sequence[Surface], settings: Mapping[str, Any]) -> None:
    """Write all that was computed, and with what settings, as JSON."""
    write_json(path, {"settings": json.loads(json.dumps(settings)), "surfaces": [asdict(one) for one in surfaces]})

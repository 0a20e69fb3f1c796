"""Draw the loss around trained checkpoints, and measure how sharp it is there."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iaa_retrieval.device_options import device_field
from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import Check, Checked, above, at_least, flat, option

if TYPE_CHECKING:
    from iaa_retrieval.analysis.loss_surface import Surface

NAME = "loss-surface"


@dataclass(frozen=True, kw_only=True)
class LossSurfaceOptions(Checked):
    """Checkpoints of one kind, and the examples, directions and points to measure their loss at."""

    checkpoints: tuple[str, ...] = option(python_only=True)
    collection: str = option(help="ir_datasets id, directory in BEIR layout, or 'embedded'.", metavar="ID-or-DIR")
    output: str = option(help="Directory for figure, data and table.", type=click.Path(file_okay=False))
    split: str | None = option(None, help="Training split of the collection.")
    negatives: str | None = option(
        None,
        help="TREC run of the training queries to take hard negatives from.",
        type=click.Path(dir_okay=False),
        metavar="RUN",
    )
    examples: int = option(128, help="Training examples, drawn by seed, in whole batches.", check=at_least(1))
    points: int = option(
        21,
        help="Points along either direction.",
        check=Check(lambda points: points >= 3 and points % 2 == 1, "an odd number from 3 on"),
    )
    reach: float = option(1.0, help="How far to go, in lengths of the trained weights.", check=above(0))
    radius: float = option(0.5, help="Where sharpness is measured, in the same lengths.", check=above(0))
    directions: int = option(10, help="Random directions that sharpness is the mean over.", check=at_least(1))
    eigenvalue: bool = option(False, help="Also the largest eigenvalue of the Hessian, by power iteration.")
    batch_size: int | None = option(None, help="Queries per batch.", default_text="the training's", check=at_least(1))
    negatives_per_query: int | None = option(
        None, help="Hard negatives per example.", default_text="the training's", check=at_least(0)
    )
    loss: str | None = option(None, help="How a positive is set against negatives.", default_text="the training's")
    temperature: float | None = option(
        None, help="Divides the similarities of a bi-encoder.", default_text="the training's", check=above(0)
    )
    train_max_length: int | None = option(
        None, help="Tokens of a document (or pair).", default_text="what the checkpoint says"
    )
    seed: int = option(42, help="Seed of examples and directions.")
    device: str = device_field()
    resume: bool = option(False, help="Continue interrupted work of the same command.")
    overwrite: bool = option(False, help="Discard interrupted work.")


def analyze_loss_surface(options: LossSurfaceOptions) -> tuple[list[Surface], tuple[Path, ...]]:
    """Write ``loss-surface.png``, ``.svg``, ``.csv``, ``.txt`` and ``.json`` into ``options.output``.

    Every row of a grid is kept beside the output until all is done, so that ``resume`` goes on with the next.

    Returns:
        What was computed of each checkpoint, and the paths in this order.

    Raises:
        UsageError: checkpoints of several kinds or trainings; interrupted work, and neither ``resume`` nor
            ``overwrite``.
        IaaRetrievalError: a checkpoint or collection that cannot be read, or another process that makes the same
            output.
    """
    from iaa_retrieval.analysis.figures import write_report
    from iaa_retrieval.analysis.loss_surface import (
        RECORDED,
        Batches,
        common_settings,
        measure_surface,
        read_configs,
        save_surfaces,
    )
    from iaa_retrieval.analysis.loss_surface_report import draw_surfaces, summary_of, surface_table
    from iaa_retrieval.training.options import TrainOptions
    from iaa_retrieval.work_in_progress import work_in_progress

    paths = list(options.checkpoints)
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice or not paths:
        raise UsageError(f"checkpoint {twice[0]} is named twice; name each once" if twice else "name a checkpoint")
    configs = read_configs(paths)
    values = common_settings(paths, configs, {name: getattr(options, name) for name in RECORDED})
    for name in ("collection", "split", "negatives", "train_max_length", "seed", "device"):
        values[name] = getattr(options, name)
    run = TrainOptions.of(kind=configs[0].kind, output=options.output, **values)
    run.resolved()
    output = Path(options.output)
    work = output.absolute().with_name(f".{output.absolute().name}.{NAME}")
    settings = _settings(options, [config.fingerprint for config in configs])
    grid = _grid(options)
    with work_in_progress(work, settings, resume=options.resume, overwrite=options.overwrite):
        batches = Batches(run, options.examples)
        surfaces = [
            measure_surface(batches, path, options.device, grid, work, str(number)) for number, path in enumerate(paths)
        ]
        drawing, text = draw_surfaces(surfaces), summary_of(surfaces)
        files = write_report(output, NAME, drawing, surface_table(surfaces), text)
        numbers = output / f"{NAME}.json"
        save_surfaces(numbers, surfaces, {**settings, **values, **asdict(batches.hyper)})
        shutil.rmtree(work)
    return surfaces, (*files, numbers)


def _settings(options: LossSurfaceOptions, fingerprints: list[str]) -> dict[str, Any]:
    """What work in progress depends on."""
    elsewhere = ("output", "resume", "overwrite")
    asked = {key: value for key, value in flat(options).items() if key not in elsewhere}
    return {**asked, "checkpoints": list(options.checkpoints), "fingerprints": fingerprints}


def _grid(options: LossSurfaceOptions) -> Any:
    from iaa_retrieval.analysis.loss_surface import Grid

    half = options.points // 2
    values = tuple(options.reach * number / half for number in range(-half, half + 1))
    return Grid(values, options.radius, options.directions, options.eigenvalue, options.seed)

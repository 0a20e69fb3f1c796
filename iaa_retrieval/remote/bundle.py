"""Making the bundle: everything that the other machine needs, in one folder of limited size."""

from __future__ import annotations

import logging
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from iaa_retrieval.collections.loading import is_collection, split_spec
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import files_below, sha256_of, write_json
from iaa_retrieval.models.backbone import MINILM, resolve_backbone
from iaa_retrieval.remote.collections import UNSPLIT, collection_digests, write_collections
from iaa_retrieval.remote.matrix import Matrix
from iaa_retrieval.remote.packages import PYTHON, packages_archive
from iaa_retrieval.remote.places import BUNDLE_LIMIT, MANIFEST, MEBIBYTE, RUN_PROGRAM, Places
from iaa_retrieval.remote.selection import Selection
from iaa_retrieval.remote.units import Digests, Unit, steps_making
from iaa_retrieval.remote.weights import halve
from iaa_retrieval.reproduction.loading import reproductions_directory
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.runner import run_step
from iaa_retrieval.reproduction.stages import Stages
from iaa_retrieval.reproduction.steps import CommandStep

LOG = logging.getLogger("iaa_retrieval")
PACKAGE = Path(__file__).resolve().parents[1]
COLLECTION_OPTIONS = ("--collection", "--corpus", "--topics")
SPLIT_OPTIONS = ("--split", "--dev-split")
BACKBONE_OPTIONS = ("--backbone", "--encoder")
# Before anything was made, when keys are not of interest yet.
NOTHING_YET = Digests({}, {}, {}, "")


@dataclass(frozen=True)
class BundleOptions:
    """What to put into a bundle, and how.

    Attributes:
        training_precision: ``bf16`` and so on, or ``as stated`` by the commands.
        constraints: versions of the packages to bring along; None brings none (the machine has them all).
        cache: where the archive of the packages is kept for the next bundle.
        runs: where outputs of steps go that are made here; None is ``runs/NAME`` of each reproduction.
        limit: bytes of the whole bundle.
    """

    selection: Selection
    output: Path
    training_precision: str
    constraints: Path | None
    cache: Path
    runs: Path | None = None
    limit: int = BUNDLE_LIMIT


def make_bundle(options: BundleOptions, earlier: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Write the bundle; a folder of an earlier bundle is replaced.

    Args:
        earlier: key -> record of each unit that came back before, which is not done again.

    Returns:
        The bytes of each file.

    Raises:
        UsageError: nothing is left to do.
        IaaRetrievalError: a command that cannot be run there, a step that fails here, or a bundle that is too large.
    """
    if options.output.exists() and any(options.output.iterdir()) and not (options.output / MANIFEST).is_file():
        raise UsageError(f"{options.output} holds something else than a bundle; choose another folder")
    reproductions = options.selection.reproductions()
    planned = Matrix(options.selection, reproductions, NOTHING_YET, {})
    units = _possible_units(planned)
    if not units:
        raise UsageError(f"no row of {', '.join(options.selection.names)} that trains something is left; see --again")
    _require_known_names(units, reproductions)
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        places = Places(Path(folder))
        backbones = _write_backbones(units, places)
        write_collections(_collections_of(units, reproductions), places.collections)
        given = _make_given(planned, units, reproductions, options.runs, places)
        digests = Digests(collection_digests(places.collections), backbones, given, options.training_precision)
        matrix = Matrix(options.selection, reproductions, digests, earlier)
        if not matrix.unfinished():
            raise UsageError("every unit that is known by now has come back; collect the results")
        _write_source(options.selection.names, places)
        known = {key: {"dev_score": record["dev_score"]} for key, record in earlier.items()}
        manifest = {
            "python": PYTHON if options.constraints else None,
            "selection": asdict(options.selection),
            "digests": asdict(digests),
            "earlier": known,
        }
        return _assemble(options, places, manifest, matrix.unfinished())


def _possible_units(matrix: Matrix) -> list[Unit]:
    """Every unit, whatever the rates turn out to be, and those that they start from."""
    units = [unit for plan in matrix.plans for unit in matrix.possible(plan)]
    return [*(unit for shared in matrix.shared.values() for unit in shared.values()), *units]


def _require_known_names(units: Iterable[Unit], reproductions: Iterable[Reproduction]) -> None:
    for unit in units:
        for step in unit.steps:
            if "$" in step.command:
                raise IaaRetrievalError(
                    f"{unit.name}: step {step.name} names a file by an environment variable, which a bundle does not "
                    f"bring: {step.command}"
                )
            for word in step.reads:
                if Path(word).is_file():
                    raise IaaRetrievalError(f"{unit.name}: {step.name} reads {word}, which a bundle does not bring")
    for reproduction in reproductions:
        for topics in reproduction.topic_sets.values():
            for name in (topics.queries, topics.qrels):
                if not is_collection(name):
                    raise IaaRetrievalError(
                        f"{reproduction.name}: {name} is no collection, so a bundle cannot bring it"
                    )


def _collections_of(units: Iterable[Unit], reproductions: Iterable[Reproduction]) -> list[tuple[str, str]]:
    """The collections that commands and topic sets name, each with the split that is meant."""
    named = [topics for reproduction in reproductions for topics in reproduction.topic_sets.values()]
    wanted = {split_spec(word) for topics in named for word in (topics.queries, topics.qrels)}
    for unit in units:
        for step in unit.steps:
            for name, split in map(split_spec, _values_of(step, *COLLECTION_OPTIONS)):
                others = _values_of(step, *SPLIT_OPTIONS)
                wanted |= {(name, other) for other in (split, *others)}
    return sorted((name, split or UNSPLIT) for name, split in wanted)


def _values_of(step: CommandStep, *options: str) -> list[str]:
    """What a command says for some options, but for outputs of other steps."""
    words = shlex.split(step.command)
    return [word for option, word in pairwise(words) if option in options and "{" not in word]


def _write_backbones(units: Iterable[Unit], places: Places) -> dict[str, str]:
    """Halve every backbone that commands name; name -> hash of its files."""
    names: dict[str, None] = {}
    for unit in units:
        for step in unit.steps:
            names |= dict.fromkeys(_values_of(step, *BACKBONE_OPTIONS))
            if step.trains and "--backbone" not in step.command:
                names[MINILM] = None
    digests = {}
    for name in names:
        if Path(name).is_absolute():
            raise IaaRetrievalError(f"backbone {name} is named by its place on this machine; name it as others can")
        target = places.backbones / name
        halve(Path(resolve_backbone(name)), target)
        files = {file.relative_to(target).as_posix(): sha256_of(file) for file in files_below(target)}
        digests[name] = ",".join(f"{file}={found[:16]}" for file, found in files.items())
    return digests


def _make_given(
    matrix: Matrix, units: Iterable[Unit], reproductions: Iterable[Reproduction], runs: Path | None, places: Places
) -> dict[str, str]:
    """Make the runs that need Lucene here, as ``reproduce`` does; ``REPRODUCTION/STEP`` -> hash of it."""
    digests = {}
    for reproduction in reproductions:
        directory = runs or reproduction.printed_directory
        names = dict.fromkeys(n for unit in units if unit.reproduction == reproduction.name for n in unit.given)
        stages = Stages(directory)
        for plan in matrix.plans if names else []:
            if plan.reproduction is not reproduction:
                continue
            chain = {step.name: step for topics in plan.columns for step in plan.chain(topics)}
            for step in steps_making([name for name in names if name in chain], chain.values()):
                run_step(stages, step)
        for name in names:
            made = directory / name
            if not made.is_file():
                raise IaaRetrievalError(f"{reproduction.name}: step {name} makes no run, so a bundle cannot bring it")
            place = places.outputs(reproduction.name) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, place)
            digests[f"{reproduction.name}/{name}"] = sha256_of(made)
    return digests


def _write_source(names: Iterable[str], places: Places) -> None:
    """The package, and of the reproductions the YAML files and the rates that were tried."""
    source = places.bundle / "source"
    shutil.copytree(PACKAGE, source / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    directory = reproductions_directory()
    places.reproductions.mkdir()
    for name in names:
        shutil.copyfile(directory / f"{name}.yaml", places.reproductions / f"{name}.yaml")
        for rates in sorted((directory / "results" / name).rglob("*.rates.json")):
            target = places.reproductions / rates.relative_to(directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(rates, target)


def _assemble(options: BundleOptions, places: Places, manifest: dict[str, Any], units: int) -> dict[str, int]:
    output = options.output
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    content = [places.bundle / name for name in ("source", "collections", "runs") if (places.bundle / name).exists()]
    _pack(output / "content.tar.xz", content, compressed=True)
    _pack(output / "backbones.tar", [places.backbones], compressed=False)  # does not compress any further
    if options.constraints:
        shutil.copyfile(packages_archive(options.constraints, options.cache), output / "packages.tar.xz")
    shutil.copyfile(Path(__file__).with_name(RUN_PROGRAM), output / RUN_PROGRAM)
    write_json(output / MANIFEST, manifest)
    sizes = {file.name: file.stat().st_size for file in files_below(output)}
    listed = ", ".join(f"{name} {size / MEBIBYTE:.1f}" for name, size in sizes.items())
    total = sum(sizes.values())
    if total > options.limit:
        shutil.rmtree(output)
        raise IaaRetrievalError(
            f"the bundle has {total / MEBIBYTE:.1f} MiB, over {options.limit / MEBIBYTE:.1f}: {listed}"
        )
    LOG.info("%d units to do; %.1f MiB: %s", units, total / MEBIBYTE, listed)
    return sizes


def _pack(path: Path, folders: Iterable[Path], *, compressed: bool) -> None:
    # The largest window: documents and sources repeat each other over long distances.
    with tarfile.open(path, "w:xz", preset=9) if compressed else tarfile.open(path, "w") as packed:
        for folder in folders:
            packed.add(folder, folder.name)

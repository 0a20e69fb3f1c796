"""The sources of collections, in the order in which they are asked whether a name is theirs.

A source from another package is registered by calling :func:`register_source`, or found by itself where that package
declares it::

    [project.entry-points."iaa_retrieval.sources"]
    sqlite = "my_package.sqlite:SqliteSource"
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from iaa_retrieval.collections.base import Source
from iaa_retrieval.collections.beir_directory import BeirDirectorySource
from iaa_retrieval.collections.document_file import DocumentFilesSource
from iaa_retrieval.collections.embedded import EmbeddedSource
from iaa_retrieval.collections.ir_datasets_collection import IrDatasetsSource
from iaa_retrieval.errors import UsageError
from iaa_retrieval.notices import warn_once

ENTRY_POINTS = "iaa_retrieval.sources"

_SOURCES: list[Source] = [EmbeddedSource(), BeirDirectorySource(), DocumentFilesSource(), IrDatasetsSource()]


def register_source(source: Source) -> None:
    """Add a source: before the one that its ``before`` names, else behind all others.

    Raises:
        UsageError: not a source, one of that name is there already, or the one that it goes before is not.
    """
    if not isinstance(source, Source):
        raise UsageError(f"{source!r} is not a source of collections (iaa_retrieval.collections.base.Source)")
    names = [known.name for known in _SOURCES]
    if source.name in names:
        raise UsageError(f"there is a source of collections called {source.name!r} already")
    if source.before and source.before not in names:
        raise UsageError(
            f"source {source.name!r} goes before {source.before!r}, which is no source; there are: {', '.join(names)}"
        )
    _SOURCES.insert(names.index(source.before) if source.before else len(names), source)


def sources() -> tuple[Source, ...]:
    """All sources, in the order in which they are asked."""
    _register_from_elsewhere()
    return tuple(_SOURCES)


def find_source(spec: str) -> Source | None:
    """The first source that claims ``spec`` as a whole (see :meth:`.Source.claims`)."""
    return next((source for source in sources() if source.claims(spec)), None)


@cache
def _register_from_elsewhere() -> None:
    """The sources that installed packages declare, once; a broken one is no reason to do without the others."""
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            register_source(entry.load()())
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            warn_once(f"{_described(entry)} is left out: {type(error).__name__}: {reason}")


def _described(entry: EntryPoint) -> str:
    package = f" of package {entry.dist.name}" if entry.dist is not None else ""
    return f"source of collections {entry.name!r} ({entry.value}){package}"

"""The sources of collections, in the order in which they are asked whether a name is theirs.

One from another package is registered by calling ``register_source``, or found by itself where that package names
the object in its ``pyproject.toml``::

    [project.entry-points."iaa_retrieval.sources"]
    sqlite = "my_package.sqlite:SOURCE"
"""

from __future__ import annotations

from iaa_retrieval.collections.base import Source
from iaa_retrieval.collections.beir_directory import BeirDirectorySource
from iaa_retrieval.collections.document_file import DocumentFilesSource
from iaa_retrieval.collections.embedded import EmbeddedSource
from iaa_retrieval.collections.ir_datasets_collection import IrDatasetsSource
from iaa_retrieval.collections.python_packages import PythonPackagesSource
from iaa_retrieval.registry import EntryPoints

_SOURCES: list[Source] = [
    EmbeddedSource(),
    PythonPackagesSource(),
    BeirDirectorySource(),
    DocumentFilesSource(),
    IrDatasetsSource(),
]


def register_source(source: Source) -> None:
    """Add a source: before the one that its ``before`` names, else behind all others.

    Args:
        source: an object of a class below ``Source``, under its ``name``.

    Raises:
        TypeError: not a source.
        ValueError: one of that name is there already, or the one that it goes before is not.
    """
    if not isinstance(source, Source):
        raise TypeError(f"{source!r} is not a source of collections (iaa_retrieval.collections.base.Source)")
    names = [known.name for known in _SOURCES]
    if source.name in names:
        raise ValueError(f"there is a source of collections called {source.name!r} already")
    if source.before and source.before not in names:
        raise ValueError(
            f"source {source.name!r} goes before {source.before!r}, which is no source; there are: {', '.join(names)}"
        )
    _SOURCES.insert(names.index(source.before) if source.before else len(names), source)


def sources() -> tuple[Source, ...]:
    """All sources, in the order in which they are asked."""
    PACKAGES.load()
    return tuple(_SOURCES)


def find_source(spec: str) -> Source | None:
    """The first source that claims ``spec`` as a whole (see ``Source.claims``)."""
    return next((source for source in sources() if source.claims(spec)), None)


PACKAGES = EntryPoints("source of collections", "iaa_retrieval.sources", register_source)

"""Making Pyserini take the encoder class that was decided on, not the first whose name stands in the path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from iaa_retrieval.errors import UsageError


@contextmanager
def only_class(class_map: dict[str, Any], name: str | None, made_by: Any = None) -> Iterator[None]:
    """Leave one class in one of Pyserini's maps meanwhile; its guess can only be that one.

    Pyserini takes the first class of its map that stands in an encoder's name, and the maps for documents and for
    queries have different orders: of "cosdpr" they would take ``dpr`` for documents and ``cosdpr`` for queries.

    Args:
        class_map: Pyserini's ``document_encoder_class_map`` or ``query_encoder_class_map``.
        name: the class; None leaves the map as it is.
        made_by: what makes its encoder; default: what Pyserini has for it.

    Raises:
        UsageError: Pyserini has no such class.
    """
    if name is None:
        yield
        return
    stock = dict(class_map)
    maker = made_by or stock.get(name)
    if maker is None:
        raise UsageError(f"Pyserini has no encoder of class {name} here; of those it has: {', '.join(stock)}")
    class_map.clear()
    class_map[name] = maker
    try:
        yield
    finally:
        class_map.clear()
        class_map.update(stock)

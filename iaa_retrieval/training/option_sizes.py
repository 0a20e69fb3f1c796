"""An option that is several sizes, such as ``256,128,64``. Light: no torch."""

from __future__ import annotations

from typing import Any

import click

from iaa_retrieval.options import Check


class _SizesType(click.ParamType[Any]):
    """Whole numbers with commas between them, or a list of them; the check says whether they are sizes."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of them, largest first; anything else as it is."""
        parts = value.split(",") if isinstance(value, str) else value
        try:
            return tuple(sorted((int(part) for part in parts), reverse=True))
        except (TypeError, ValueError):
            return value


def _are_sizes(value: Any) -> bool:
    if not isinstance(value, (tuple, list)) or not value or len(set(value)) < len(value):
        return False
    return all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in value)


SIZES: dict[str, Any] = {
    "type": _SizesType(),
    "metavar": "SIZES",
    "check": Check(_are_sizes, "whole numbers from 1 on, none of them twice, such as 256,128,64"),
    "settings": {"multiple": False},
}
"""What such an option says about itself, beside help and default."""

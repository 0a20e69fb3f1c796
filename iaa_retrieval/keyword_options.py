"""Python functions whose keyword arguments are a verb's options, each stated once (``iaa_retrieval.options``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING
from typing import Any, TypeVar

from iaa_retrieval.options import help_of, single_options

T = TypeVar("T")


def documented_options(cls: type[Any], variant: str = "") -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorate a function that takes the options of ``cls``: its signature and docstring list them.

    Args:
        variant: as for ``click_options``.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        listed = list(single_options(cls, variant))
        lines = [f"        {name}: {help_of(about, variant)}" for name, _, _, about in listed]
        function.__doc__ = "\n".join([f"{(function.__doc__ or '').rstrip()}\n\n    Args:", *lines])
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if default is MISSING else default,
                annotation=annotation,
            )
            for name, default, annotation, _ in listed
        ]
        returned = function.__annotations__.get("return", inspect.Signature.empty)
        function.__signature__ = inspect.Signature(parameters, return_annotation=returned)  # type: ignore[attr-defined]
        return function

    return decorate

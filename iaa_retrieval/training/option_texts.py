"""What help says about defaults that the methods decide and about heads, and what an option may be. Light: no torch."""

from __future__ import annotations

from typing import Any

import click

from iaa_retrieval.models.heads.registry import get_head, head_names
from iaa_retrieval.tuning.methods import get_method, methods


class MarginType(click.ParamType[Any]):
    """A number, or text such as ``95%``; the option's check says whether it is a margin."""

    name = "margin"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number where it is one."""
        try:
            return float(value)
        except ValueError:
            return value


def default_rates(kind: str, usual: str) -> str:
    """The rate of most methods, which is that of the method ``usual``, then that of each other one."""
    rate = get_method(usual).learning_rates[kind]
    others = [method for method in methods() if method.learning_rates[kind] != rate]
    return ", ".join(
        [_short(rate), *(f"for {_inside(method.title)} {_short(method.learning_rates[kind])}" for method in others)]
    )


def default_dropout() -> str:
    """What stands for no ``--dropout``: none inside the backbone, but for methods that keep the backbone's own."""
    keeping = [_inside(method.title) for method in methods() if method.backbone_dropout is None]
    return f"its own for {', '.join(keeping)}, else none, which is faster"


def described_heads() -> str:
    """Each head of a cross-encoder with its phrase."""
    return ", ".join(f"{name} ({get_head(name).help})" for name in head_names())


def _short(rate: float) -> str:
    """``3e-5`` for 0.00003."""
    digits, exponent = f"{rate:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def _inside(title: str) -> str:
    """A title within a sentence: ``Full fine-tuning`` begins small, ``LoRA`` stays."""
    return title[0].lower() + title[1:] if title[1:].islower() else title

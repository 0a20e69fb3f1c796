"""What the help of training's options says about methods and heads. Light: no torch."""

from __future__ import annotations

from iaa_retrieval.models.heads.registry import get_head, head_names
from iaa_retrieval.tuning.methods import get_method, methods


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

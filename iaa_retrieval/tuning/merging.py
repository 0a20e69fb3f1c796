"""Folds an adapter into the backbone's weights."""

from __future__ import annotations

from typing import Any

from peft.utils import ModulesToSaveWrapper
from torch import nn


def merge_into_backbone(tuned: Any) -> nn.Module:
    """``PeftModel.merge_and_unload`` with every value checked, for models with task heads too.

    Most of PEFT's tuners copy the ``weight`` of each module that they put back, and a saved pooler or a classification
    head of several layers has none, so that cross-encoders of most methods would fail.

    Args:
        tuned: a ``peft.PeftModel``, not to be used any more afterwards.

    Returns:
        The bare model, with the adapter in its weights.

    Raises:
        NotImplementedError: the method's adapter has no equal among the backbone's weights.
    """
    tuned.base_model._replace_module = _replace_module
    merged: nn.Module = tuned.merge_and_unload(safe_merge=True)
    for name, module in list(merged.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):  # some tuners (layer-norm tuning) leave them in place
            merged.set_submodule(name, module.modules_to_save[module.active_adapters[0]])
    return merged


def _replace_module(parent: nn.Module, name: str, new_module: nn.Module, old_module: nn.Module) -> None:
    setattr(parent, name, new_module)

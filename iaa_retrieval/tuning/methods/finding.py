"""From a name, as checkpoints and reports have it, to a method: the registry's, one of PEFT's own, or none at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods.adalora import AdaLora
from iaa_retrieval.tuning.methods.base import Method
from iaa_retrieval.tuning.methods.dora import Dora
from iaa_retrieval.tuning.methods.not_installed import not_installed
from iaa_retrieval.tuning.methods.peft import PeftMethod
from iaa_retrieval.tuning.methods.registry import PEFT_PREFIX, get_method, method_names
from iaa_retrieval.tuning.methods.untuned import UNTUNED

_DORA = PEFT_PREFIX + "dora"
_CLASSES: dict[str, type[PeftMethod]] = {_DORA: Dora, PEFT_PREFIX + "adalora": AdaLora}


def find_method(name: str) -> Method:
    """The method that ``retriever.json`` or a report calls so, also "none" and PEFT's own ("peft-ia3", "peft-dora").

    A name that nothing here knows is of a package that is not installed: its merged networks can be used all the same.
    """
    if name == UNTUNED.name:
        return UNTUNED
    if not name.startswith(PEFT_PREFIX):
        return get_method(name) if name in method_names() else not_installed(name)
    peft_type = "LORA" if name == _DORA else name.removeprefix(PEFT_PREFIX).replace("-", "_").upper()
    return _new(name, peft_type, {})


def peft_method(values: Mapping[str, Any]) -> PeftMethod:
    """The method that a PEFT configuration describes, called "peft-ia3" or "peft-dora" in checkpoints and reports.

    Only its name is made of it here; ``check_configuration`` looks at the rest.

    Args:
        values: a JSON object with ``peft_type`` and fields of that type's configuration.

    Raises:
        UsageError: no ``peft_type``.
    """
    peft_type = values.get("peft_type")
    if not isinstance(peft_type, str) or not peft_type:
        raise UsageError('a PEFT configuration is a JSON object with a "peft_type", such as {"peft_type": "IA3"}')
    dora = peft_type.upper() == "LORA" and values.get("use_dora")
    name = _DORA if dora else PEFT_PREFIX + peft_type.lower().replace("_", "-")
    return _new(name, peft_type.upper(), values)


def _new(name: str, peft_type: str, values: Mapping[str, Any]) -> PeftMethod:
    method = _CLASSES.get(name, PeftMethod)
    return method(name=name, title=name.removeprefix(PEFT_PREFIX), peft_type=peft_type, values=values)

"""The tuning methods: one module for each, or each family, and the registry of them. Light: no torch, no PEFT.

Importing this package registers ours, in the order in which pages and ``--help`` list them.
"""

from __future__ import annotations

# isort: off
from iaa_retrieval.tuning.methods import full, bitfit, prefix, houlsby, mam, lora, iaa  # noqa: F401

# isort: on
from iaa_retrieval.tuning.methods.base import (
    ADAPTER_NAME,
    Dimension,
    Method,
    Place,
    Settings,
    Tuner,
)
from iaa_retrieval.tuning.methods.finding import find_method, peft_method
from iaa_retrieval.tuning.methods.registry import (
    all_dimensions,
    check_overrides,
    get_method,
    mergeable_names,
    method_names,
    methods,
    register,
)
from iaa_retrieval.tuning.methods.scaling import Dimensions
from iaa_retrieval.tuning.methods.sizes import Sizes, sizes_of
from iaa_retrieval.tuning.methods.untuned import UNTUNED

__all__ = [
    "ADAPTER_NAME",
    "UNTUNED",
    "Dimension",
    "Dimensions",
    "Method",
    "Place",
    "Settings",
    "Sizes",
    "Tuner",
    "all_dimensions",
    "check_overrides",
    "find_method",
    "get_method",
    "mergeable_names",
    "method_names",
    "methods",
    "peft_method",
    "register",
    "sizes_of",
]

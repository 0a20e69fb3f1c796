"""The methods that exist: ours, what a program registers, and what installed packages bring.

A package brings methods through the entry point group ``iaa_retrieval.methods``. Each entry names a module that calls
``register`` when it is imported, as the modules of this package do:

    [project.entry-points."iaa_retrieval.methods"]
    my-method = "my_package.my_method"

Such a module must be as light as ours: no torch and no PEFT at import. One that cannot be imported is named in a
warning, and the other methods work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from iaa_retrieval.errors import UsageError
from iaa_retrieval.registry import EntryPoints
from iaa_retrieval.tuning.methods.base import Dimension, Method
from iaa_retrieval.tuning.methods.untuned import UNTUNED

# Begins the names of methods that are PEFT's own, not the registry's ("lora" here has its own scaling).
PEFT_PREFIX = "peft-"

PACKAGES = EntryPoints("tuning method", "iaa_retrieval.methods")

_METHODS: dict[str, Method] = {}
_FOLLOWERS: list[Callable[[Method], None]] = []


def register(method: Method) -> Method:
    """Enter a method in the registry.

    Whatever asks the registry later knows it. The commands of ``iaa_retrieval.train`` make the options of dimensions
    when that module is imported; a dimension that is registered after this is set in Python only.

    Args:
        method: an object of a subclass of ``Method``, under its ``name``.

    Returns:
        The method itself.

    Raises:
        UsageError: the name is taken, or says something else in checkpoints: "none", or "peft-..." for PEFT's own.
    """
    if method.name == UNTUNED.name or method.name.startswith(PEFT_PREFIX):
        raise UsageError(
            f"a tuning method cannot be called {method.name!r}: {UNTUNED.name!r} and what begins with {PEFT_PREFIX!r} "
            "mean other things in checkpoints; choose another name"
        )
    if method.name in _METHODS:
        raise UsageError(f"there is a tuning method {method.name!r} already; choose another name")
    _METHODS[method.name] = method
    for follow in _FOLLOWERS:
        follow(method)
    return method


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UsageError: no method has that name; the message lists those that exist.
    """
    if name not in _METHODS:
        PACKAGES.load()
    if name not in _METHODS:
        raise UsageError(f"unknown tuning method {name!r}; known: {', '.join(_METHODS)}")
    return _METHODS[name]


def methods() -> tuple[Method, ...]:
    """All methods, in the order in which they were registered: ours first."""
    PACKAGES.load()
    return tuple(_METHODS.values())


def method_names() -> tuple[str, ...]:
    """Names of all methods, in the order of ``methods``."""
    return tuple(method.name for method in methods())


def mergeable_names() -> tuple[str, ...]:
    """Names of the methods that can be folded into the backbone's weights."""
    return tuple(method.name for method in methods() if method.mergeable)


def all_dimensions() -> dict[str, Dimension]:
    """Every dimension of any method by name, what most methods take first; of two of one name, the first."""
    taken = [dimension for method in methods() for dimension in method.dimensions]
    first: dict[str, Dimension] = {}
    for dimension in taken:
        first.setdefault(dimension.name, dimension)
    return {name: first[name] for name, _ in Counter(dimension.name for dimension in taken).most_common()}


def follow_methods(action: Callable[[Method], None]) -> None:
    """Do something with every method: those that are registered, and each that will be."""
    _FOLLOWERS.append(action)
    for method in methods():
        action(method)


def check_overrides(method: Method, scaling: float | None, activation: str | None) -> None:
    """Refuse a scaling or activation where it means nothing; None, the method's default, always passes.

    Raises:
        UsageError: the method has none, or a scaling that is not a number above 0.
    """
    for name, value in (("scaling", scaling), ("activation", activation)):
        if value is not None and name not in method.takes:
            having = ", ".join(other.name for other in methods() if name in other.takes)
            raise UsageError(f"method {method.name} has no {name}; methods that have one: {having}")
    if scaling is not None and not 0.0 < scaling < math.inf:
        raise UsageError(f"scaling must be a number above 0, got {scaling}")

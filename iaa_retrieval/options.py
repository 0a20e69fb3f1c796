"""An option is stated once: the field of a frozen dataclass carries type, default, help and check.

The click options of a verb, the check of the values and the flat record of them are all made from the fields, so that
a default and its help, or the command line and the Python function, cannot differ::

    @dataclass(frozen=True)
    class SearchOptions(Checked):
        run: str = option(help="Run to make.", metavar="RUN")
        hits: int = option(100, help="Documents per query.", check=at_least(1))

    @click.command(cls=Verb)
    @click_options(SearchOptions)
    def main(**values: Any) -> None:
        search(build(SearchOptions, values))

A field whose type is such a dataclass itself is a group: its options stand among the others on the command line and in
a flat record, and in Python a function takes the group that it needs.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar

import click

from iaa_retrieval.errors import UsageError

T = TypeVar("T")
_KEY = "iaa_retrieval.option"


@dataclass(frozen=True)
class Check:
    """What a value must be like; None, an option that was not given, always passes."""

    passes: Callable[[Any], bool]
    says: str  # such as "1 or more"
    choices: tuple[str, ...] = ()  # all values there are, where these can be listed


@dataclass(frozen=True)
class Option:
    """What a field says about itself beside type and default.

    Attributes:
        help: one sentence; by variant (see ``click_options``) where it differs.
        default_text: what a default stands for, as help shows it ("" shows none); by variant where it differs.
        default_of: what a default of None becomes (see ``default_for``), by variant where it differs; help shows it.
        variants: the variants that have the option; empty is all.
        check: what its values must be like; by variant where it differs, see ``check``.
        type: click's type, where the annotation does not say it, by variant where it differs.
        metavar: what help calls the value.
        flags: other names than the field's own, such as ``("--fields",)``.
        settings: further arguments of ``click.Option``.
        python_only: the command line does not have it.
        each: of a mapping, what its entries are called and say about themselves. Each is an option of its own on the
            command line and in a flat record, None where the mapping has no such entry.
    """

    help: str | Mapping[str, str] = ""
    default_text: str | Mapping[str, str] | None = None
    default_of: Any = None
    variants: tuple[str, ...] = ()
    check: Check | Mapping[str, Check] | None = None
    type: Any = None
    metavar: str | None = None
    flags: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    python_only: bool = False
    each: Callable[[], Mapping[str, Option]] | None = None


def option(default: Any = MISSING, **settings: Any) -> Any:
    """A dataclass field that is an option; without a default it is required.

    Args:
        default: its default; None stands for what ``default_text`` says.
        settings: fields of ``Option``.
    """
    metadata = {_KEY: Option(**settings)}
    if isinstance(default, (dict, list)):
        copied = default
        return field(default_factory=lambda: type(copied)(copied), metadata=metadata)
    return field(default=default, metadata=metadata)


def group(options: type[T]) -> T:
    """A dataclass field that is a group of options, by default that with all defaults."""
    return field(default_factory=options)


class NamesOf(click.Choice[str]):
    """A click type: one of the names that ``names`` gives whenever it is asked, such as those in a registry."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names
        self.case_sensitive = True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """All names there are now."""
        return tuple(self._names())


class Checked:
    """A mix-in for dataclasses of options, which refuses values that their checks do not pass."""

    def __post_init__(self) -> None:
        check(self)


def at_least(minimum: float) -> Check:
    """A number from ``minimum`` on."""
    return Check(lambda value: value >= minimum, f"{minimum:g} or more")


def above(limit: float) -> Check:
    """A number above ``limit``."""
    return Check(lambda value: value > limit, f"above {limit:g}")


def share(*, zero: bool = True, one: bool = False) -> Check:
    """A number between 0 and 1, with or without these."""
    return Check(
        lambda value: (value >= 0 if zero else value > 0) and (value <= 1 if one else value < 1),
        f"{'0 or more' if zero else 'above 0'} and {'up to' if one else 'below'} 1",
    )


def one_of(*values: str) -> Check:
    """One of these words."""
    return Check(lambda value: value in values, "one of " + ", ".join(values), values)


def check(options: Any, variant: str = "") -> None:
    """Refuse a value of ``options`` (not of its groups, which check themselves) that its check does not pass.

    Args:
        variant: whose checks to make where they differ; without one these are left out.

    Raises:
        UsageError: names the option and the value.
    """
    for entry in dataclasses.fields(options):
        about, value = entry.metadata.get(_KEY), getattr(options, entry.name)
        if about is not None and value is not None:
            wanted = _of_variant(about.check, variant)
            finite = not isinstance(value, float) or math.isfinite(value)
            if not finite or (wanted is not None and not wanted.passes(value)):
                raise UsageError(f"{flag_of(entry.name)} {value} is out of range" + _wanted(wanted))


def default_for(options: Any, name: str, variant: str) -> Any:
    """The value of the field ``name``, or what its None becomes for a variant."""
    value = getattr(options, name)
    if value is not None:
        return value
    about = next(entry.metadata[_KEY] for entry in dataclasses.fields(options) if entry.name == name)
    return _of_variant(about.default_of, variant)


def names_of(cls: type[Any], variant: str = "") -> tuple[str, ...]:
    """The names of the options that a variant has."""
    return tuple(name for name, *_ in single_options(cls, variant))


def flag_of(name: str) -> str:
    """The flag of an option: ``batch_size`` is ``--batch-size``."""
    return f"--{name.replace('_', '-')}"


def build(cls: type[T], values: Mapping[str, Any], **further: Any) -> T:
    """An object of a dataclass of options, its groups filled, from values by the names of their fields.

    Raises:
        UsageError: a value that a check refuses.
        TypeError: a name that is no option, or a required one that is missing.
    """
    rest = {**values, **further}
    made = _build(cls, rest)
    if rest:
        raise TypeError(f"{cls.__name__} has no option {', '.join(sorted(rest))}")
    return made


def flat(options: Any) -> dict[str, Any]:
    """The values of ``options`` by name, those of its groups among them, in the order of the fields."""
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(options):
        value = getattr(options, entry.name)
        names = _entry_names(entry)
        if dataclasses.is_dataclass(value):
            values |= flat(value)
        elif names:
            values |= {**dict.fromkeys(names), **value}
        else:
            values[entry.name] = value
    return values


def changed(options: T, **changes: Any) -> T:
    """A copy of ``options`` with other values, wherever in its groups they stand."""
    return build(type(options), {**flat(options), **changes})


def differing(options: Any) -> list[str]:
    """The names of the fields that have a default and another value, in their order."""
    return [
        entry.name
        for entry in dataclasses.fields(options)
        if entry.default is not dataclasses.MISSING and getattr(options, entry.name) != entry.default
    ]


def option_fields(cls: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], Any, Option]]:
    """Every option of ``cls`` and its groups: field, type and what it says about itself."""
    hints = typing.get_type_hints(cls)
    for entry in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[entry.name]):
            yield from option_fields(hints[entry.name])
        elif _KEY in entry.metadata:
            yield entry, hints[entry.name], entry.metadata[_KEY]


def click_options(cls: type[Any], variant: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a click command with the options of ``cls``.

    Args:
        variant: of the command, such as the kind of model that it trains; options of other variants are left out.

    Raises:
        ValueError: two options have one name, such as an entry of a mapping and a field.
    """
    options = [one for one in single_options(cls, variant) if not one[-1].python_only]
    names = [name for name, *_ in options]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two options of {cls.__name__} are called {', '.join(map(flag_of, twice))}")
    made = [_click_option(*one, variant) for one in options]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(made):
            function = decorator(function)
        return function

    return decorate


def single_options(cls: type[Any], variant: str) -> Iterator[tuple[str, Any, Any, Option]]:
    """The options of a variant: name, default (``MISSING`` where required), type and what is said about each."""
    for entry, annotation, about in option_fields(cls):
        if about.variants and variant not in about.variants:
            continue
        if about.each is not None:
            (_, kept) = typing.get_args(annotation)
            yield from ((name, None, kept | None, one) for name, one in about.each().items())
        else:
            default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
            yield entry.name, default, annotation, about


def _entry_names(entry: dataclasses.Field[Any]) -> tuple[str, ...]:
    """Of a mapping whose entries are options: their names."""
    about = entry.metadata.get(_KEY)
    return () if about is None or about.each is None else tuple(about.each())


def _build(cls: type[T], rest: dict[str, Any]) -> T:
    hints = typing.get_type_hints(cls)
    given: dict[str, Any] = {}
    for entry in dataclasses.fields(cls):  # type: ignore[arg-type]
        entries = {name: rest.pop(name) for name in _entry_names(entry) if name in rest}
        if entry.name in rest:
            given[entry.name] = rest.pop(entry.name)
        elif dataclasses.is_dataclass(hints[entry.name]):
            given[entry.name] = _build(hints[entry.name], rest)
        elif entries:
            given[entry.name] = {name: value for name, value in entries.items() if value is not None}
    return cls(**given)


def _click_option(
    name: str, default: Any, annotation: Any, about: Option, variant: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    settings: dict[str, Any] = {**_click_type(annotation), **about.settings}
    wanted = _of_variant(about.check, variant)
    if wanted is not None and wanted.choices:
        settings["type"] = click.Choice(wanted.choices)
    if about.type is not None:
        settings["type"] = _of_variant(about.type, variant)
    if about.metavar is not None:
        settings["metavar"] = about.metavar
    flags = about.flags or (flag_of(name),)
    if settings.get("is_flag") and annotation is not bool:  # yes, no, or what the model says itself
        flags, settings = (f"{flags[0]}/--no-{flags[0][2:]}", *flags[1:]), {"default": None, **about.settings}
    if default is MISSING:
        settings["required"] = True
    elif not settings.get("multiple"):
        settings["default"] = default
        if default is not None and default is not False and _stated_default(about, variant) is None:
            settings.setdefault("show_default", True)
    return click.option(*flags, name, help=help_of(about, variant), **settings)


def help_of(about: Option, variant: str) -> str:
    """What an option says about itself, with the default that it states instead of its value."""
    text: str = _of_variant(about.help, variant)
    stated = _stated_default(about, variant)
    return f"{text}  [default: {stated}]" if stated else text


def _stated_default(about: Option, variant: str) -> str | None:
    stated = _of_variant(about.default_of if about.default_text is None else about.default_text, variant)
    return f"{stated:g}" if isinstance(stated, float) else None if stated is None else str(stated)


def _of_variant(value: Any, variant: str) -> Any:
    return value.get(variant) if isinstance(value, Mapping) else value


def _click_type(annotation: Any) -> dict[str, Any]:
    """What an annotation says about a click option: ``int | None``, ``tuple[str, ...]``, ``bool``, ..."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _click_type(parts[0]) if len(parts) == 1 else {}  # of several, the option itself says the type
    if typing.get_origin(annotation) is tuple:
        items = typing.get_args(annotation)
        if items[-1] is Ellipsis:
            return {"type": items[0], "multiple": True}
        return {"type": items[0], "nargs": len(items)}
    if annotation is bool:
        return {"is_flag": True}
    return {"type": annotation if annotation in (int, float, str) else click.UNPROCESSED}


def _wanted(check: Check | None) -> str:
    return f"; it must be {check.says}" if check is not None else "; it must be a finite number"

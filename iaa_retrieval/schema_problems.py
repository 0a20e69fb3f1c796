"""The first fault that pydantic found in a file, in one line that names the place and what was meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from iaa_retrieval.nearest import did_you_mean

_TYPES = {"model_type": "a mapping", "dict_type": "a mapping", "list_type": "a list", "string_type": "text"}
_LONGEST = 60  # characters of a wrong value that a message repeats


def first_problem(error: ValidationError, model: type[BaseModel], values: Any) -> str:
    """A misspelt key before all else, for that it is missing under its right name says less.

    Args:
        model: what was validated.
        values: what was validated against it.
    """
    problems = error.errors(include_url=False)
    found = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    place = found["loc"]
    if found["type"] == "extra_forbidden":
        known = _keys(model, place[:-1])
        hint = did_you_mean(str(place[-1]), known) or f"; its keys are {', '.join(known)}"
        return f"{_place(place, values)} is no known key{hint}"
    if found["type"] == "missing":
        within = _place(place[:-1], values)
        return f"{within}: {place[-1]!r} is missing" if within else f"{place[-1]!r} is missing"
    return f"{_place(place, values) or 'the file'} {_expected(found)}"


def _place(place: Sequence[int | str], values: Any) -> str:
    """Such as ``conditions[3] (adapter-0.5): scores.test.nDCG@10.value``."""
    if place[:1] == ("conditions",) and len(place) > 1 and isinstance(place[1], int):
        entry = values["conditions"][place[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        condition = f"conditions[{place[1]}]" + (f" ({name})" if name else "")
        return f"{condition}: {_path(place[2:])}" if len(place) > 2 else condition
    return _path(place)


def _path(place: Sequence[int | str]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(parts).removeprefix(".")


def _expected(found: ErrorDetails) -> str:
    given = repr(found["input"])
    given = given if len(given) <= _LONGEST else given[:_LONGEST] + "..."
    should = _TYPES.get(found["type"]) or found["msg"].removeprefix("Input should be ")
    return f"should be {should}, not {given}" if should != found["msg"] else f"{given}: {should}"


def _keys(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys of the mapping at a place."""
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            # Of a list, a dictionary or what may be absent, the entries; a place inside one of them changes nothing.
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)

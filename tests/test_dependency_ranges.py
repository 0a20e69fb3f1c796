"""The range of every dependency in pyproject.toml is between versions that the tests passed with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[1]


def pinned(file: str) -> dict[str, Version]:
    lines = (REPOSITORY / file).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def requirements() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


@pytest.mark.parametrize("requirement", [r for r in requirements() if r.specifier], ids=str)
def test_a_range_starts_at_the_lowest_version_and_holds_the_highest(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    lowest, highest = pinned("constraints-lowest.txt")[name], pinned("constraints.txt")[name]
    (start,) = [part.version for part in requirement.specifier if part.operator in (">=", "==")]
    assert Version(start).release == lowest.release[: len(Version(start).release)]
    assert requirement.specifier.contains(lowest)
    assert requirement.specifier.contains(highest)

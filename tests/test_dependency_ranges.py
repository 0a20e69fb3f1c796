"""The range of every dependency in pyproject.toml is between versions that the tests passed with."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[1]
PINS = REPOSITORY / "constraints"
PYTHONS = sorted(path.name for path in PINS.glob("python*.txt"))


def pinned(file: str) -> dict[str, Version]:
    lines = (PINS / file).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def requirements() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


@pytest.mark.parametrize("requirement", [r for r in requirements() if r.specifier], ids=str)
def test_a_range_starts_at_the_lowest_version_and_holds_the_highest(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    lowest = pinned("lowest.txt")[name]
    (start,) = [part.version for part in requirement.specifier if part.operator in (">=", "==")]
    assert Version(start).release == lowest.release[: len(Version(start).release)]
    assert requirement.specifier.contains(lowest)
    for file in PYTHONS:
        assert requirement.specifier.contains(pinned(file)[name]), file


@pytest.mark.parametrize("file", PYTHONS)
def test_every_python_has_a_version_of_all_that_is_asked_for(file: str) -> None:
    assert [r.name for r in requirements() if canonicalize_name(r.name) not in pinned(file)] == []
    # A build of one machine, such as torch 2.13.0+cpu, is not to be had everywhere.
    assert [version for version in pinned(file).values() if version.local] == []

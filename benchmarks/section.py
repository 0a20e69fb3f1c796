"""What one benchmark consists of, and what a round of it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Round = dict[str, float]
"""What one round measured: name -> value, in the unit that the section says."""


@dataclass(frozen=True)
class Value:
    """A measured number; ``limit`` is the most (or, with ``at_least``, the least) that was aimed at."""

    key: str
    label: str
    unit: str
    digits: int = 1
    limit: float | None = None
    at_least: bool = False


@dataclass(frozen=True)
class Ratio:
    """A quotient of two numbers of the same round, and what was aimed at."""

    label: str
    over: str
    under: str
    target: float
    at_least: bool = True
    digits: int = 2


@dataclass(frozen=True)
class Section:
    """One benchmark.

    Attributes:
        name: for the command line and the results.
        title: heading on the page.
        text: what is measured and how, in Markdown.
        measure: one round; everything that is compared takes its turn in it. Gets a directory for its files, which
            later rounds find again.
        values: what to print of it.
        ratios: what to compare.
        rounds: how many rounds the page is made of.
        findings: what the numbers mean, in Markdown; where a target is missed, why.
    """

    name: str
    title: str
    text: str
    measure: Callable[[Path], Round]
    values: tuple[Value, ...]
    ratios: tuple[Ratio, ...] = ()
    rounds: int = 3
    findings: str = ""

"""Where things are in a bundle, in the folder that it is unpacked to, and in what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"
RUN_PROGRAM = "run.py"
SUMMARY = "SUMMARY.txt"
UNIT_RECORD = "unit.json"
CHECKPOINT = "checkpoint"
MEBIBYTE = 1 << 20
BUNDLE_LIMIT = 60 * MEBIBYTE
# What may come back: so many files, the summary among them, each and together no larger than this.
PART_LIMIT, PARTS, PARTS_LIMIT = 16 * MEBIBYTE, 7, 60 * MEBIBYTE


@dataclass(frozen=True)
class Places:
    """The folders of an unpacked bundle.

    Attributes:
        bundle: holds ``source/``, ``collections/``, ``backbones/`` and ``runs/``.
    """

    bundle: Path

    @property
    def reproductions(self) -> Path:
        """The YAML files and the learning rates that were tried."""
        return self.bundle / "source" / "reproductions"

    @property
    def collections(self) -> Path:
        """See ``write_collections``."""
        return self.bundle / "collections"

    @property
    def backbones(self) -> Path:
        """Each backbone in a directory of its name; commands run here, so that they find it."""
        return self.bundle / "backbones"

    def outputs(self, reproduction: str) -> Path:
        """Outputs of steps; the runs that the bundle brings are here from the beginning."""
        return self.bundle / "runs" / reproduction

    @property
    def finished(self) -> Path:
        """A folder for each finished unit, by its key."""
        return self.bundle / "finished"

    def log(self, name: str) -> Path:
        """What a unit printed."""
        return self.bundle / "logs" / f"{name.replace('/', '+')}.log"

"""Stages of an experiment: each is made once, and made again when anything that it depends on changed."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from iaa_retrieval._version import __version__
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json, write_json

LOG = logging.getLogger("iaa_retrieval")


class Stages:
    """Outputs below one directory, each with a record of what it was made from.

    An output is used again only when its record says that it was made completely from the same inputs; so a
    partial, stale or foreign one never is.

    Attributes:
        seconds: stage name -> seconds it took when it was made.
        reused: names of the stages that did not have to be made in this process.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seconds: dict[str, float] = {}
        self.reused: list[str] = []
        self._made: dict[str, str] = {}

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        make: Callable[[Path], None],
        *,
        after: tuple[str, ...] = (),
    ) -> Path:
        """Make the output ``directory / name`` with ``make`` unless it is there and still valid.

        Args:
            name: of the stage and of its output file or directory.
            inputs: what the output depends on (plain JSON values).
            after: stages whose outputs it is made from; it is made again whenever one of them was.

        Raises:
            IaaRetrievalError: ``make`` ended well without an output.
        """
        output = self.directory / name
        record_file = self.directory / ".stages" / f"{name}.json"
        depends = {
            "inputs": dict(inputs),
            "after": [self._made[other] for other in after],
            "version": __version__,
        }
        key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        record = read_json(record_file) if record_file.is_file() else {}
        if record.get("key") == key and "made" in record and output.exists():
            self.reused.append(name)
            self.seconds[name] = float(record["seconds"])
            self._made[name] = record["made"]
            return output
        record_file.unlink(missing_ok=True)
        if output.is_dir():
            shutil.rmtree(output)
        output.unlink(missing_ok=True)
        LOG.info("== %s", name)
        started = time.monotonic()
        make(output)
        self.seconds[name] = round(time.monotonic() - started, 1)
        if not output.exists():
            raise IaaRetrievalError(f"stage {name} ended without making {output}")
        # Names this very output: training again need not give the same weights, so what came after it is stale.
        self._made[name] = uuid.uuid4().hex
        write_json(record_file, {"key": key, "made": self._made[name], "seconds": self.seconds[name]})
        return output

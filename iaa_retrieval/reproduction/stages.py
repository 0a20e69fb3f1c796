"""Stages of an experiment: each is made once, and made again when anything that it depends on changed."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json, write_json
from iaa_retrieval.reproduction.contents import ABSENT, Digests, contents_of
from iaa_retrieval.versions import code_fingerprint, library_versions
from iaa_retrieval.work_in_progress import locked

LOG = logging.getLogger("iaa_retrieval")


class Environment(NamedTuple):
    """When an output was made, on what class of machine and with which versions."""

    date: str
    hardware: str
    versions: dict[str, str]


class Stages:
    """Outputs below one directory, each with a record of what it was made from.

    An output is used again only when its record says that it was made completely from the same inputs, by the same
    code and versions; so a partial, stale or foreign one never is.

    Attributes:
        seconds: stage name -> seconds it took when it was made.
        environments: stage name -> what it was made in.
        reused: names of the stages that did not have to be made in this process.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seconds: dict[str, float] = {}
        self.environments: dict[str, Environment] = {}
        self.reused: list[str] = []
        self._made: dict[str, str] = {}
        self._digests = Digests(directory / ".stages" / "contents.json")

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        make: Callable[[Path], None],
        *,
        after: tuple[str, ...] = (),
        reads: Iterable[str] = (),
    ) -> Path:
        """Make the output ``directory / name`` with ``make`` unless it is there and still valid.

        What was there before is kept in ``.stages`` until the new output is whole.

        Args:
            name: of the stage and of its output file or directory.
            inputs: what the output depends on (plain JSON values).
            after: stages whose outputs it is made from; it is made again whenever one of them was.
            reads: names of files, directories, collections and backbones whose content it depends on (other words
                count for nothing).

        Raises:
            IaaRetrievalError: ``make`` ended well without an output, or another process makes it just now.
        """
        output = self.directory / name
        record_file = self._record_file(name)
        with locked(self.directory / ".stages" / name):
            depends = {
                "inputs": dict(inputs),
                "after": [self._made[other] for other in after],
                "versions": library_versions(),
                "code": code_fingerprint(),
            }
            contents = contents_of(reads, self._digests)
            record = read_json(record_file) if record_file.is_file() else {}
            if record.get("key") == _key(depends, contents) and "made" in record and output.exists():
                self.reused.append(name)
            else:
                if record:  # the output is whole, so that nothing older is of use
                    self._remove_what_was_put_aside(name)
                record_file.unlink(missing_ok=True)
                record = self._make(name, make, depends, contents, reads)
        self.seconds[name] = float(record["seconds"])
        self.environments[name] = Environment(**record["environment"])
        self._made[name] = record["made"]
        return output

    def _make(
        self,
        name: str,
        make: Callable[[Path], None],
        depends: Mapping[str, Any],
        contents: Mapping[str, str],
        reads: Iterable[str],
    ) -> dict[str, Any]:
        """Make an output anew and keep its record, which is returned."""
        output = self.directory / name
        self._put_aside(name, _key(depends, contents))
        LOG.info("== %s", name)
        started = time.monotonic()
        make(output)
        seconds = round(time.monotonic() - started, 1)
        if not output.exists():
            raise IaaRetrievalError(f"stage {name} ended without making {output}")
        # A collection that was downloaded meanwhile is here now.
        now = contents_of(reads, self._digests)
        contents = {word: now[word] if found == ABSENT else found for word, found in contents.items()}
        record = {
            "key": _key(depends, contents),
            # Names this very output: training again need not give the same weights, so what came after it is stale.
            "made": uuid.uuid4().hex,
            "seconds": seconds,
            "environment": current_environment()._asdict(),
        }
        self._digests.save()
        write_json(self._record_file(name), record)
        self._remove_what_was_put_aside(name)
        return record

    def _record_file(self, name: str) -> Path:
        return self.directory / ".stages" / f"{name}.json"

    def _put_aside(self, name: str, key: str) -> None:
        """Make room for an output; interrupted work for it stays where it is only when it was for the same one.

        What an earlier failure put aside stays, for it is the last that was whole.
        """
        output = self.directory / name
        begun = self.directory / ".stages" / f"{name}.begun"
        same = begun.is_file() and begun.read_text(encoding="utf-8") == key
        aside = self._aside(name)
        for path in [output] if same else [output, *_work_for(output)]:
            older = aside / path.name
            if path.exists() and older.exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.exists():
                aside.mkdir(parents=True, exist_ok=True)
                path.rename(older)
        begun.parent.mkdir(parents=True, exist_ok=True)
        begun.write_text(key, encoding="utf-8")

    def _remove_what_was_put_aside(self, name: str) -> None:
        shutil.rmtree(self._aside(name), ignore_errors=True)

    def _aside(self, name: str) -> Path:
        return self.directory / ".stages" / f"{name}.before"


def _work_for(output: Path) -> list[Path]:
    return [output.with_name(f".{output.name}.{kind}") for kind in ("training", "encoding")]


def _key(depends: Mapping[str, Any], contents: Mapping[str, str]) -> str:
    values = {**depends, "contents": dict(contents)}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def current_environment() -> Environment:
    """Of what is made here and now."""
    # Importing torch takes longer than finding everything valid does.
    from iaa_retrieval.models.precision import hardware_class

    return Environment(datetime.date.today().isoformat(), hardware_class(), library_versions())

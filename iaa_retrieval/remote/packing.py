"""What comes back from the other machine: a few tar files of limited size, the most important first."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import files_below
from iaa_retrieval.remote.places import CHECKPOINT, PART_LIMIT, PARTS, PARTS_LIMIT, UNIT_RECORD

_BLOCK = 512
_END = 10240  # a tar file is a multiple of this
_MEMBER = re.compile(rf"[0-9a-f]{{64}}/({re.escape(UNIT_RECORD)}\.gz|{CHECKPOINT}/[\w.-]+)")


class Packed(NamedTuple):
    """What was packed: the files, and the names of units whose record or checkpoint found no room."""

    parts: list[Path]
    left_out: list[str]


class _Entry(NamedTuple):
    name: str
    content: bytes

    @property
    def size(self) -> int:
        return _BLOCK + -(-len(self.content) // _BLOCK) * _BLOCK


def pack(
    units: Iterable[tuple[str, Path, bool]],
    target: Path,
    *,
    part_limit: int = PART_LIMIT,
    parts: int = PARTS,
    limit: int = PARTS_LIMIT,
) -> Packed:
    """Write ``results-0.tar`` and so on: every unit's record, then the checkpoints, those of first seeds before others.

    Args:
        units: the name of a unit, its folder (named by its key), and whether its seed is the first of its row.
        part_limit, limit: bytes of a file, and of all.
    """
    units = list(units)
    groups: list[tuple[str, list[_Entry]]] = []
    for name, folder, _ in units:
        groups.append((name, [_Entry(f"{folder.name}/{UNIT_RECORD}.gz", _zipped(folder / UNIT_RECORD))]))
    for name, folder, _ in sorted(units, key=lambda unit: not unit[2]):
        if (folder / CHECKPOINT).is_dir():
            files = files_below(folder / CHECKPOINT)
            entries = [_Entry(f"{folder.name}/{CHECKPOINT}/{file.name}", file.read_bytes()) for file in files]
            groups.append((f"the checkpoint of {name}", entries))
    bins: list[list[_Entry]] = []
    left_out = []
    total = 0
    for name, entries in groups:
        size = sum(entry.size for entry in entries)
        room = next((part for part in bins if _size(part) + size + _END <= part_limit), None)
        if room is None and len(bins) < parts and size + _END <= part_limit:
            room = []
            bins.append(room)
        if room is None or total + size + parts * _END > limit:
            left_out.append(name)
            continue
        room.extend(entries)
        total += size
    return Packed([_write(target / f"results-{n}.tar", part) for n, part in enumerate(bins) if part], left_out)


def unpack(directory: Path, store: Path) -> list[str]:
    """Put what came back into ``store``, a folder for each unit.

    Returns:
        The keys of the units.

    Raises:
        IaaRetrievalError: there are no results in the directory, or a file that is damaged or holds something else.
    """
    parts = sorted(directory.glob("results-*.tar"))
    if not parts:
        raise IaaRetrievalError(f"{directory} holds no results-*.tar; name the folder with what came back")
    keys: dict[str, None] = {}
    for part in parts:
        try:
            with tarfile.open(part) as packed:
                for member in packed:
                    content = packed.extractfile(member)
                    if content is None or not _MEMBER.fullmatch(member.name):
                        raise IaaRetrievalError(f"{part} holds {member.name}, which is no result; it is not unpacked")
                    place = store / member.name.removesuffix(".gz")
                    place.parent.mkdir(parents=True, exist_ok=True)
                    data = content.read()
                    place.write_bytes(gzip.decompress(data) if member.name.endswith(".gz") else data)
                    keys[member.name.split("/")[0]] = None
        except (tarfile.TarError, OSError, EOFError) as error:
            raise IaaRetrievalError(f"{part} is damaged: {error}") from error
    return list(keys)


def _zipped(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)


def _size(entries: list[_Entry]) -> int:
    return sum(entry.size for entry in entries)


def _write(path: Path, entries: list[_Entry]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as packed:
        for entry in entries:
            member = tarfile.TarInfo(entry.name)
            member.size = len(entry.content)
            packed.addfile(member, io.BytesIO(entry.content))
    return path

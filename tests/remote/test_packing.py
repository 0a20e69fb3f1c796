"""What comes back fits the limits, the most important first, and only results are unpacked."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.remote.packing import pack, unpack

KIB = 1 << 10


def unit(directory: Path, number: int, checkpoint: int = 0, *, first: bool = True) -> tuple[str, Path, bool]:
    """A finished unit with a checkpoint of so many bytes, which no compression makes smaller."""
    folder = directory / f"{number:064x}"
    folder.mkdir(parents=True)
    (folder / "unit.json").write_text(json.dumps({"number": number}))
    if checkpoint:
        (folder / "checkpoint").mkdir()
        (folder / "checkpoint" / "adapter_model.safetensors").write_bytes(bytes([number]) * checkpoint)
    return f"unit {number}", folder, first


def test_there_and_back(tmp_path: Path) -> None:
    units = [unit(tmp_path / "finished", number, 3000 * number) for number in range(4)]
    packed = pack(units, tmp_path)
    assert packed.left_out == [] and [part.name for part in packed.parts] == ["results-0.tar"]
    assert unpack(tmp_path, tmp_path / "store") == [folder.name for _, folder, _ in units]
    for _, folder, _ in units:
        for file in folder.rglob("*.*"):
            assert (tmp_path / "store" / file.relative_to(folder.parent)).read_bytes() == file.read_bytes()


def test_parts_and_all_of_them_stay_below_their_limits(tmp_path: Path) -> None:
    units = [unit(tmp_path / "finished", number, 30 * KIB, first=number % 2 == 0) for number in range(8)]
    packed = pack(units, tmp_path, part_limit=100 * KIB, parts=3, limit=250 * KIB)
    sizes = [part.stat().st_size for part in packed.parts]
    assert max(sizes) <= 100 * KIB and len(sizes) <= 3 and sum(sizes) <= 250 * KIB
    # Every record comes, and of the checkpoints those of first seeds before any other.
    assert len(unpack(tmp_path, tmp_path / "store")) == 8
    kept = {int(file.parent.parent.name, 16) for file in (tmp_path / "store").rglob("adapter_model.safetensors")}
    assert {0, 2, 4, 6} <= kept
    assert packed.left_out == [f"the checkpoint of unit {number}" for number in (1, 3, 5, 7) if number not in kept]
    assert packed.left_out


def test_a_checkpoint_larger_than_a_part_is_said(tmp_path: Path) -> None:
    packed = pack([unit(tmp_path / "finished", 1, 200 * KIB)], tmp_path, part_limit=100 * KIB)
    assert packed.left_out == ["the checkpoint of unit 1"] and len(packed.parts) == 1


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", f"{1:064x}/../../evil", f"{1:064x}/checkpoint/a/b"])
def test_nothing_but_results_is_unpacked(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "results-0.tar", "w") as packed:
        member = tarfile.TarInfo(name)
        member.size = 3
        packed.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(IaaRetrievalError, match="which is no result; it is not unpacked"):
        unpack(tmp_path, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_nothing_or_damaged_files_came_back(tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match=r"holds no results-\*.tar"):
        unpack(tmp_path, tmp_path / "store")
    pack([unit(tmp_path / "finished", 1, 5000)], tmp_path)
    part = tmp_path / "results-0.tar"
    part.write_bytes(part.read_bytes()[:2000])
    with pytest.raises(IaaRetrievalError, match=r"results-0.tar is damaged"):
        unpack(tmp_path, tmp_path / "store")

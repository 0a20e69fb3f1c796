"""The packages of a bundle: their versions are the pinned ones, and one archive holds what is in their wheels."""

from __future__ import annotations

import importlib.metadata
import tarfile
import zipfile
from pathlib import Path

import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.remote import packages
from iaa_retrieval.remote.packages import PACKAGES, packages_archive, pinned

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints" / f"python{packages.PYTHON}.txt"


def test_each_has_its_pinned_version() -> None:
    found = dict(line.split("==") for line in pinned(CONSTRAINTS))
    assert len(found) == len(PACKAGES)
    # Other Pythons have the same versions of what scores depend on.
    for name in ("transformers", "peft", "tokenizers"):
        assert found[name] == importlib.metadata.version(name)


def test_constraints_without_one(tmp_path: Path) -> None:
    lines = CONSTRAINTS.read_text().replace("peft==", "other==")
    (tmp_path / "some.txt").write_text(lines)
    with pytest.raises(IaaRetrievalError, match=r"some\.txt has no version of peft$"):
        pinned(tmp_path / "some.txt")
    with pytest.raises(IaaRetrievalError, match=r"cannot read .*none\.txt: No such file"):
        pinned(tmp_path / "none.txt")


def test_the_archive_is_made_once_and_holds_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(wanted: list[str], target: Path) -> None:
        asked.append(wanted)
        target.mkdir()
        for name in ("one", "two"):
            with zipfile.ZipFile(target / f"{name}-1-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"{name}/__init__.py", f"NAME = {name!r}")

    monkeypatch.setattr(packages, "_download", download)
    archive = packages_archive(CONSTRAINTS, tmp_path)
    assert packages_archive(CONSTRAINTS, tmp_path) == archive and asked == [pinned(CONSTRAINTS)]
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    assert (tmp_path / "packages" / "two" / "__init__.py").read_text() == "NAME = 'two'"

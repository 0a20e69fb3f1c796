"""Outputs appear whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_directory, atomic_file, read_json, require_empty, sha256_of, write_json


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_only_at_the_end(tmp_path: Path):
    target = tmp_path / "new" / "run.trec"
    with atomic_file(target) as stream:
        stream.write("wäter\n")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "wäter\n"
    assert names(target.parent) == ["run.trec"]


def test_bytes_can_be_written_too(tmp_path: Path):
    with atomic_file(tmp_path / "vectors", "wb") as stream:
        stream.write(b"\x00\xff")
    assert (tmp_path / "vectors").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("error", (ValueError("mine"), KeyboardInterrupt()))
def test_an_exception_leaves_the_older_file_and_nothing_else(error: BaseException, tmp_path: Path):
    target = tmp_path / "run.trec"
    target.write_text("older")
    with pytest.raises(type(error)), atomic_file(target) as stream:
        stream.write("half")
        raise error
    assert target.read_text() == "older"
    assert names(tmp_path) == ["run.trec"]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path: Path):
    with pytest.raises(IaaRetrievalError) as error, atomic_file(tmp_path / "run.trec"):
        raise OSError(28, "No space left on device")
    assert str(error.value) == f"cannot write {tmp_path / 'run.trec'}: No space left on device"
    assert names(tmp_path) == []


def test_a_file_does_not_replace_a_directory(tmp_path: Path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(IaaRetrievalError, match="cannot write"), atomic_file(tmp_path / "taken") as stream:
        stream.write("x")
    assert names(tmp_path) == ["taken"]


@pytest.mark.parametrize("exists", (True, False))
def test_a_directory_appears_only_at_the_end(exists: bool, tmp_path: Path):
    target = tmp_path / "parent" / "index"
    if exists:
        target.mkdir(parents=True)
    with atomic_directory(target) as directory:
        (directory / "docid").write_text("d1")
        assert directory.parent == target.parent  # on the same disk, so that it can be renamed
        assert target.exists() == exists
        assert not exists or names(target) == []
    assert names(target) == ["docid"]
    assert names(target.parent) == ["index"]


@pytest.mark.parametrize("error", (ValueError("mine"), KeyboardInterrupt()))
def test_an_exception_leaves_no_directory(error: BaseException, tmp_path: Path):
    with pytest.raises(type(error)), atomic_directory(tmp_path / "index") as directory:
        (directory / "docid").write_text("d1")
        raise error
    assert names(tmp_path) == []


def test_every_file_in_a_directory_gets_the_mode_of_a_new_file(tmp_path: Path):
    with atomic_directory(tmp_path / "out") as directory:
        (directory / "inner").mkdir()
        (directory / "inner" / "weights").write_text("1")
        (directory / "inner" / "weights").chmod(0o600)
    (tmp_path / "new").write_text("2")
    assert (tmp_path / "out" / "inner" / "weights").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_a_directory_with_something_in_it_is_refused_and_kept(tmp_path: Path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "docid").write_text("precious")
    with pytest.raises(IaaRetrievalError, match="is not empty"), atomic_directory(tmp_path / "index"):
        pytest.fail("the block must not run")
    assert (tmp_path / "index" / "docid").read_text() == "precious"
    assert names(tmp_path) == ["index"]


def test_what_cannot_be_an_output_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(IaaRetrievalError, match=r"file is a file; name a directory"):
        require_empty(tmp_path / "file")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in (".", tmp_path / "here", "../here"):
        with pytest.raises(IaaRetrievalError, match="is the current directory"):
            require_empty(name)
    require_empty("new")
    require_empty(tmp_path / "missing")


def test_json_comes_back(tmp_path: Path):
    write_json(tmp_path / "a.json", {"b": [1, "ü"]})
    assert read_json(tmp_path / "a.json") == {"b": [1, "ü"]}
    assert (tmp_path / "a.json").read_text(encoding="utf-8").endswith("]\n}\n")


def test_broken_json_is_named(tmp_path: Path):
    path = tmp_path / "a.json"
    with pytest.raises(IaaRetrievalError, match=f"cannot read {path}: No such file"):
        read_json(path)
    for content in (b"{", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(IaaRetrievalError, match=f"{path} is not valid JSON"):
            read_json(path)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_bytes() == b"\xff"


def test_the_hash_is_that_of_the_bytes(tmp_path: Path):
    content = bytes(range(256)) * 8200  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()

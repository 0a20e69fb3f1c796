"""Outputs appear whole or not at all."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import (
    atomic_directory,
    atomic_file,
    is_stream,
    read_json,
    require_empty,
    sha256_of,
    write_json,
)


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
    with pytest.raises(IaaRetrievalError, match=r"cannot write .*it is a directory"), atomic_file(tmp_path / "taken"):
        pytest.fail("said only after the work")
    assert names(tmp_path) == ["taken"]


@pytest.mark.parametrize("dangling", (False, True))
def test_a_link_is_followed_and_stays(dangling: bool, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "run.trec"
    if not dangling:
        real.write_text("older")
    link = tmp_path / "run.trec"
    link.symlink_to(Path("elsewhere") / "run.trec")
    with atomic_file(link) as stream:
        stream.write("newer")
    assert link.is_symlink()
    assert real.read_text() == "newer"
    assert names(tmp_path) == ["elsewhere", "run.trec"] and names(real.parent) == ["run.trec"]


@pytest.mark.parametrize("dangling", (False, True))
def test_a_linked_directory_is_filled_where_it_is(dangling: bool, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    if not dangling:
        (tmp_path / "elsewhere" / "index").mkdir()
    (tmp_path / "index").symlink_to(tmp_path / "elsewhere" / "index")
    with atomic_directory(tmp_path / "index") as directory:
        (directory / "docid").write_text("d1")
    assert (tmp_path / "index").is_symlink()
    assert names(tmp_path / "elsewhere") == ["index"] and names(tmp_path / "elsewhere" / "index") == ["docid"]


def test_a_device_stays_a_device():
    before = os.stat(os.devnull).st_rdev
    with atomic_file(os.devnull) as stream:
        stream.write("nothing")
    assert is_stream(os.devnull) and os.stat(os.devnull).st_rdev == before


def test_a_pipe_gets_the_whole_content_or_nothing(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    with pytest.raises(ValueError), atomic_file(tmp_path / "pipe") as stream:
        stream.write("half")
        raise ValueError
    reader.start()
    with atomic_file(tmp_path / "pipe") as stream:
        stream.write("whole")
    reader.join(timeout=60)
    assert got == ["whole"]
    assert names(tmp_path) == ["pipe"] and (tmp_path / "pipe").is_fifo()


WRITE = """
from iaa_retrieval.files import atomic_file
print("before")
with atomic_file({path!r}) as stream:
    stream.write("content\\n")
print("after")
"""


@pytest.mark.parametrize("path", ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"))
@pytest.mark.parametrize("redirected", (False, True))
def test_standard_output_is_written_in_its_turn(path: str, redirected: bool, tmp_path: Path):
    if not Path(path).exists():
        pytest.skip(f"no {path} on this system")
    with open(tmp_path / "file", "wb") as file:
        target = file if redirected else subprocess.PIPE
        done = subprocess.run([sys.executable, "-c", WRITE.format(path=path)], stdout=target, check=True)
    written = (tmp_path / "file").read_bytes() if redirected else done.stdout
    assert written == b"before\ncontent\nafter\n"


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


def test_a_directory_of_ours_is_replaced_when_that_is_said(tmp_path: Path):
    index = tmp_path / "index"
    index.mkdir()
    (index / "precious").write_text("by hand")
    with pytest.raises(IaaRetrievalError, match=r"holds no retriever\.json, so that it is not replaced"):
        require_empty(index, overwrite=True)
    (index / "retriever.json").write_text("{}")
    with pytest.raises(ValueError), atomic_directory(index, overwrite=True):
        raise ValueError
    assert names(index) == ["precious", "retriever.json"]
    with atomic_directory(index, overwrite=True) as directory:
        (directory / "docid").write_text("d1")
        assert names(index) == ["precious", "retriever.json"]
    assert names(index) == ["docid"] and names(tmp_path) == ["index"]


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


def test_a_directory_cannot_lie_below_a_file(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(IaaRetrievalError, match=r"out would lie below .*/file, which is a file; name another"):
        require_empty(tmp_path / "file" / "folder" / "out")


def test_json_comes_back(tmp_path: Path):
    write_json(tmp_path / "a.json", {"b": [1, "ü"]})
    assert read_json(tmp_path / "a.json") == {"b": [1, "ü"]}
    assert (tmp_path / "a.json").read_text(encoding="utf-8").endswith("]\n}\n")


def test_numbers_that_json_does_not_have_are_null(tmp_path: Path):
    write_json(tmp_path / "a.json", {"t": math.inf, "list": [math.nan, (-math.inf, 1.5)], 3: 2})
    assert (tmp_path / "a.json").read_text().split() == (
        '{ "t": null, "list": [ null, [ null, 1.5 ] ], "3": 2 }'.split()
    )


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

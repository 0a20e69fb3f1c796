"""Which Python ``make`` takes: ``tools/choose-python.sh`` among interpreters that are stood in for by scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PINS = REPOSITORY / "constraints"

# Answers the two questions that are asked of an interpreter.
INTERPRETER = """#!/bin/sh
case "$2" in
    *version_info*) echo {version} ;;
    *ensurepip*) exit {without_venv} ;;
esac
"""
SHIM = """#!/bin/sh
echo "pyenv: $0: command not found" >&2
exit 127
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def interpreter(path: Path, version: str, *, venv: bool = True) -> Path:
    return write(path, INTERPRETER.format(version=version, without_venv=int(not venv)))


def choose(tmp_path: Path, wanted: str = "", *folders: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(tmp_path / folder) for folder in (folders or ("bin",)))
    return subprocess.run(
        ["/bin/sh", str(REPOSITORY / "tools" / "choose-python.sh"), wanted, str(tmp_path / "venv")],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def chosen(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return Path(done.stdout.strip())


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_the_smallest_installation_is_taken(tmp_path: Path) -> None:
    names = {version: interpreter(tmp_path / "bin" / f"python{version}", version) for version in ("3.12", "3.13")}
    interpreter(tmp_path / "bin" / "python3", "3.13")
    assert chosen(choose(tmp_path)) == names["3.12"]
    eleven = interpreter(tmp_path / "bin" / "python3.11", "3.11")
    assert chosen(choose(tmp_path)) == eleven
    assert chosen(choose(tmp_path, "3.13")) == names["3.13"]


def test_a_plain_python3_counts_by_its_version(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "bin" / "python3", "3.13")
    assert chosen(choose(tmp_path)) == python
    interpreter(python, "3.10")
    assert "install Python 3.11" in refused(choose(tmp_path))


def test_a_shim_that_fails_hides_no_interpreter_behind_it(tmp_path: Path) -> None:
    write(tmp_path / "shims" / "python3.11", SHIM)
    behind = interpreter(tmp_path / "bin" / "python3.11", "3.11")
    assert chosen(choose(tmp_path, "", "shims", "bin")) == behind
    interpreter(behind, "3.11", venv=False)
    twelve = interpreter(tmp_path / "bin" / "python3.12", "3.12")
    assert chosen(choose(tmp_path, "", "shims", "bin")) == twelve


def test_what_pyenv_has_is_taken_where_nothing_is_on_path(tmp_path: Path) -> None:
    write(tmp_path / "bin" / "pyenv", f"#!/bin/sh\necho '{tmp_path}/pyenv'\n")
    write(tmp_path / "bin" / "python3.12", SHIM)
    twelve = interpreter(tmp_path / "pyenv" / "versions" / "3.12.1" / "bin" / "python", "3.12")
    assert chosen(choose(tmp_path)) == twelve
    thirteen = interpreter(tmp_path / "bin" / "python3.13", "3.13")
    assert chosen(choose(tmp_path)) == thirteen
    assert chosen(choose(tmp_path, "3.12")) == twelve


def test_a_command_is_taken_as_it_is_named(tmp_path: Path) -> None:
    interpreter(tmp_path / "bin" / "python3.11", "3.11")
    mine = interpreter(tmp_path / "elsewhere" / "mine", "3.14")
    assert chosen(choose(tmp_path, str(mine))) == mine
    assert str(mine) in refused(choose(tmp_path, str(interpreter(mine, "3.9"))))
    assert "lacks venv" in refused(choose(tmp_path, str(interpreter(mine, "3.12", venv=False))))
    assert "no Python that runs" in refused(choose(tmp_path, "no-such-python"))
    assert "Python 3.13" in refused(choose(tmp_path, "3.13"))


def test_an_environment_keeps_its_python(tmp_path: Path) -> None:
    interpreter(tmp_path / "bin" / "python3.11", "3.11")
    interpreter(tmp_path / "bin" / "python3.12", "3.12")
    inside = interpreter(tmp_path / "venv" / "bin" / "python", "3.12")
    assert chosen(choose(tmp_path)) == inside
    assert chosen(choose(tmp_path, "3.12")) == inside
    message = refused(choose(tmp_path, "3.11"))
    assert str(tmp_path / "venv") in message and "3.12, not 3.11" in message and "VENV=" in message
    inside.unlink()
    inside.symlink_to(tmp_path / "gone")
    assert "does not run any more" in refused(choose(tmp_path))


def test_a_real_interpreter_is_understood(tmp_path: Path) -> None:
    assert chosen(choose(tmp_path, sys.executable)) == Path(sys.executable)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_python_that_is_not_experimental_has_its_versions(version: str) -> None:
    assert (PINS / f"python{version}.txt").is_file()
    assert f'"Programming Language :: Python :: {version}"' in (REPOSITORY / "pyproject.toml").read_text()

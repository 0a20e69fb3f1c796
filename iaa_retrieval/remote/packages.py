"""The packages that a bundle brings along: all that the work needs but PyTorch and NumPy, for Python 3.12 on Linux.

They come from wheels of the versions in ``constraints/python3.12.txt`` and lie unpacked in one archive: together they
are half as large as the wheels are, and the machine needs no pip.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file

PYTHON = "3.12"
PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_24", "manylinux_2_28", "manylinux1", "manylinux_2_5")
# tests/remote/test_whole_matrix.py runs a matrix with these and PyTorch alone.
PACKAGES = (
    *("accelerate", "annotated-types", "anyio", "click", "filelock", "fsspec", "h11", "httpcore2", "httpx2"),
    *("huggingface_hub", "idna", "Jinja2", "MarkupSafe", "packaging", "peft", "psutil", "pydantic", "pydantic_core"),
    *("pytrec_eval-terrier", "PyYAML", "regex", "safetensors", "tokenizers", "tqdm", "transformers", "truststore"),
    *("typing-inspection", "typing_extensions"),
)


def pinned(constraints: Path) -> list[str]:
    """The packages with their versions, as in ``peft==0.21.2``.

    Raises:
        IaaRetrievalError: the file is missing or has no version of one.
    """
    try:
        lines = constraints.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise IaaRetrievalError(f"cannot read {constraints}: {error.strerror}") from error
    versions = {_normalized(line.partition("==")[0]): line for line in lines if "==" in line}
    missing = [name for name in PACKAGES if _normalized(name) not in versions]
    if missing:
        raise IaaRetrievalError(f"{constraints} has no version of {', '.join(missing)}")
    return [versions[_normalized(name)] for name in PACKAGES]


def packages_archive(constraints: Path, cache: Path) -> Path:
    """The archive of the packages, made where it is not in ``cache`` yet (needs pip and its index then).

    Raises:
        IaaRetrievalError: a wheel cannot be had.
    """
    wanted = pinned(constraints)
    name = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:16]
    archive = cache / f"packages-{name}.tar.xz"
    if not archive.is_file():
        with tempfile.TemporaryDirectory(prefix="packages-") as folder:
            wheels, site = Path(folder) / "wheels", Path(folder) / "site"
            _download(wanted, wheels)
            for wheel in sorted(wheels.glob("*.whl")):
                with zipfile.ZipFile(wheel) as content:
                    content.extractall(site)
            with atomic_file(archive, "wb") as stream, tarfile.open(fileobj=stream, mode="w:xz", preset=9) as packed:
                packed.add(site, "packages")
    return archive


def _download(wanted: list[str], target: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", PYTHON, "--implementation", "cp", "--dest", str(target)]
    for platform in PLATFORMS:
        command += ["--platform", f"{platform}_x86_64"]
    finished = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        reasons = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise IaaRetrievalError(f"pip cannot download the wheels for Python {PYTHON}: {reasons[-1]}")


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

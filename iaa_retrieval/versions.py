"""What a result depends on besides its inputs: versions of the libraries, and of this package's own code."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from pathlib import Path

_PACKAGES = ("iaa-retrieval", "torch", "transformers", "peft", "tokenizers", "pyserini", "faiss-cpu")
# Parts of this package that no result depends on: they tell, compare and convert.
_WITHOUT_INFLUENCE = (
    "doctor.py",
    "export.py",
    "exporting",
    "jobs/doctor.py",
    "jobs/export.py",
    "jobs/quickstart.py",
    "jobs/reproduce.py",
    "jobs/reproduce_options.py",
    "quickstart.py",
    "remote",
    "reproduce.py",
    "reproduction",
)


def library_versions() -> dict[str, str]:
    """Versions of what a score depends on; a package that another one stands for (faiss-gpu) is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def code_fingerprint() -> str:
    """SHA-256 over the source of all modules that results depend on; hex."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if not any(relative.is_relative_to(part) for part in _WITHOUT_INFLUENCE):
            digest.update(relative.as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()

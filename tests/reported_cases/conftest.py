from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reported_cases(data_dir: Path) -> Path:
    """The folder with the cases and their common files, or a skip that says where it was looked for."""
    path = data_dir / "reported-cases"
    if not path.is_dir():
        pytest.skip(f"no {path}")
    return path

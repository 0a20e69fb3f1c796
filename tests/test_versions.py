"""What a result depends on: the source of every part of the package but of those that only tell and compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from iaa_retrieval import versions

PACKAGE = Path(versions.__file__).parent


def test_what_is_left_out_is_there() -> None:
    assert [part for part in versions._WITHOUT_INFLUENCE if not (PACKAGE / part).exists()] == []


def test_a_change_counts_unless_it_is_in_a_part_without_influence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "versions.py"))
    for name in ("models/pooling.py", "jobs/quickstart_steps.py", "jobs/export.py", "reproduction/pages/html.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    fingerprint = versions.code_fingerprint.__wrapped__
    before = fingerprint()
    for name in ("jobs/export.py", "reproduction/pages/html.py"):
        (tmp_path / name).write_text("changed = True\n")
    assert fingerprint() == before
    for name in ("models/pooling.py", "jobs/quickstart_steps.py"):
        (tmp_path / name).write_text("changed = True\n")
        assert fingerprint() != before
        (tmp_path / name).write_text("")
    assert fingerprint() == before

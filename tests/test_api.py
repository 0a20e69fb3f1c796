"""The public names: light to import, all there, and documented with arguments, shapes, units and errors."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import iaa_retrieval

PACKAGE = Path(iaa_retrieval.__file__)
HEAVY = ("torch", "transformers", "peft", "pyserini", "faiss", "numpy", "click", "scipy", "pandas", "ir_datasets")
NAMES = sorted(set(iaa_retrieval.__all__) - {"__version__"})
# What can be given to them is wrong, or files are; this one takes nothing.
WITHOUT_ERRORS = ("prepare_process",)
SECTION = re.compile(r"^(Args|Returns|Raises|Attributes):$", re.MULTILINE)
# A parameter of such a name is a number of something, which its text must name.
UNITS = {
    "length": "token|vector|the same",
    "steps": "step",
    "batch_size": r"text|quer|document|passage|pair",
    "seconds": "second",
}


def public(name: str) -> Any:
    return getattr(iaa_retrieval, name)


FUNCTIONS = [name for name in NAMES if not name[0].isupper()]
CLASSES = [name for name in NAMES if name[0].isupper() and not name.endswith("Error")]


def sections(function: Any) -> dict[str, str]:
    """The text of a docstring by section; what comes before the first one is called Summary."""
    text = inspect.getdoc(function) or ""
    parts = SECTION.split(text)
    return {"Summary": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(section: str) -> dict[str, str]:
    """``name: text`` by name, also of several names before one colon; lines further to the right go on."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        start = re.match(r"    ([\w*]+(?:, [\w*]+)*): (.*)", line)
        if start:
            names = start[1].replace("*", "").split(", ")
            found |= dict.fromkeys(names, start[2])
        elif line.startswith("     "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def test_the_names_are_those_of_the_table_and_of_what_type_checkers_read() -> None:
    tree = ast.parse(PACKAGE.read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    table = {name: f"iaa_retrieval.{place}" for name, place in iaa_retrieval._DEFINED_IN.items()}
    assert imported == table
    assert sorted(table) == NAMES


def test_no_name_is_that_of_a_module_which_would_take_its_place() -> None:
    modules = {path.stem for path in PACKAGE.parent.iterdir()}
    assert not modules & set(NAMES)


def test_importing_is_light_and_a_name_is_loaded_when_it_is_asked_for() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import iaa_retrieval; spent = time.perf_counter() - start\n"
        f"assert not set({HEAVY}) & set(sys.modules), set({HEAVY}) & set(sys.modules)\n"
        "assert [name for name in sys.modules if name.startswith('iaa_retrieval.')] == "
        "['iaa_retrieval.import_hooks', 'iaa_retrieval._registration', 'iaa_retrieval._version']\n"
        "assert set(iaa_retrieval.__all__) <= set(dir(iaa_retrieval))\n"
        "from iaa_retrieval import UsageError, read_run\n"
        "assert 'torch' not in sys.modules\n"
        "print(spent)"
    )
    # Other work on the machine makes a single time longer, never shorter.
    spent = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        spent.append(float(done.stdout))
    assert min(spent) < 0.05


def test_an_unknown_name_is_the_usual_error() -> None:
    with pytest.raises(AttributeError, match="module 'iaa_retrieval' has no attribute 'fly'"):
        iaa_retrieval.fly  # noqa: B018
    with pytest.raises(ImportError):
        from iaa_retrieval import fly  # noqa: F401


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = public(name)
    assert name in dir(iaa_retrieval)
    summary = sections(value)["Summary"].strip()
    assert summary.split("\n")[0].endswith((".", ":", ",")) or len(summary) > 20, summary
    assert value.__doc__ and value.__module__.startswith("iaa_retrieval.")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_documents_every_argument_what_it_returns_and_its_errors(name: str) -> None:
    function = public(name)
    signature = inspect.signature(function)
    said = sections(function)
    described = entries(said.get("Args", ""))
    assert set(described) == set(signature.parameters)
    assert all(len(text) > 5 for text in described.values())
    for parameter, text in described.items():
        for part, unit in UNITS.items():
            if part in parameter:
                assert re.search(unit, text, re.IGNORECASE), f"{parameter} has no unit: {text}"
    if signature.return_annotation not in (None, "None"):
        assert said.get("Returns", "").strip()
    if name not in WITHOUT_ERRORS:
        assert re.search(r"\b(IaaRetrievalError|UsageError|ValueError)\b", said.get("Raises", ""))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("encode_corpus", "float32 [n, d]"),
        ("encode_queries", "float32 [n, d]"),
    ],
)
def test_vectors_are_returned_with_their_shape(name: str, shape: str) -> None:
    assert shape in sections(public(name))["Returns"]


@pytest.mark.parametrize("name", CLASSES)
def test_what_a_class_offers_is_documented_and_tensors_have_their_shape(name: str) -> None:
    for attribute, value in vars(public(name)).items():
        function = value.fget if isinstance(value, property) else value
        function = getattr(function, "__func__", function)
        if attribute.startswith("_") or not inspect.isfunction(function):
            continue
        text = inspect.getdoc(function) or ""
        assert text, f"{name}.{attribute} has no docstring"
        returned = str(inspect.signature(function).return_annotation)
        if "Tensor" in returned or "ndarray" in returned:
            assert re.search(r"\[\w", text), f"{name}.{attribute} says no shape"


def test_the_page_and_the_readme_lead_to_every_name() -> None:
    root = PACKAGE.parent.parent
    page = (root / "docs" / "api.md").read_text(encoding="utf-8")
    assert not [name for name in NAMES if f"`{name}`" not in page and f"{name}(" not in page]
    assert "(docs/api.md)" in (root / "README.md").read_text(encoding="utf-8")

import ast
import importlib.util
import inspect
import re
import sys
from pathlib import Path

import pytest

from iaa_retrieval.collections import standard_library
from iaa_retrieval.collections.code_definitions import first_sentence
from iaa_retrieval.collections.code_pairs import MAX_CHARACTERS
from iaa_retrieval.collections.embedded import SPLITS, build_pairs, split_of, write_embedded
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.standard_library import documented_definitions
from iaa_retrieval.errors import UsageError

MODULE = '''
import functools

@functools.cache
def documented(x):
    """Say what it does. And more.

    At length.
    """
    def inner():
        """An inner secret."""
        return "kept string"
    return inner() + "é"; """not a docstring"""

\x0c
def one_line(): "On one line."

class Outer(dict):
    """Describe the class, e.g. this one."""

    limit = 3

    def method(self, a,
               b=2):
        """A method's secret."""
        return a + b

    class Nested:
        """Nested class."""

if True:
    def conditional():
        r"""Return raw \\d text."""
        return 1

def undocumented():
    return 2
'''


def normalized(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "package"
    for folder in ("package", "package/tests", "site-packages"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text(MODULE)
    (package / "__init__.py").write_text('def top():\n    """In the package."""\n    return 0\n')
    (package / "broken.py").write_text("def (")
    monkeypatch.setattr(standard_library.sysconfig, "get_path", lambda name: str(tmp_path))
    return {definition.name: definition for definition in documented_definitions()}


def test_what_is_collected(definitions) -> None:
    assert list(definitions) == [
        "package.top", "package.module.documented", "package.module.one_line", "package.module.Outer",
        "package.module.Outer.method", "package.module.Outer.Nested", "package.module.conditional",
    ]  # fmt: skip
    assert {definition.module for definition in definitions.values()} == {"package", "package.module"}


def test_function_without_any_docstring(definitions) -> None:
    documented = definitions["package.module.documented"]
    assert documented.summary == "Say what it does."
    assert documented.code == (
        "@functools.cache\n"
        "def documented(x):\n"
        "    def inner():\n"
        '        return "kept string"\n'
        '    return inner() + "é"; """not a docstring"""'
    )
    # One line, after a form feed, which must not count as a line end.
    assert definitions["package.module.one_line"].code == "def one_line():"
    assert definitions["package.module.conditional"].code == "def conditional():\n    return 1"


def test_class_keeps_signatures_only(definitions) -> None:
    assert definitions["package.module.Outer"].summary == "Describe the class, e.g. this one."
    assert definitions["package.module.Outer"].code == (
        "class Outer(dict):\n    limit = 3\n    def method(self, a,\n               b=2):\n    class Nested:"
    )


def test_first_sentence() -> None:
    assert first_sentence("\n  Return x, e.g. a\n  b!  Then more.\n") == "Return x, e.g. a b!"
    assert first_sentence("No full stop\n\nNext paragraph.") == "No full stop"


def test_size_of_the_collection() -> None:
    collection = load_collection("embedded")
    assert collection.document_count() == len(list(collection.documents())) >= 2000
    assert len(load_collection("embedded", "train").queries()) >= 800
    assert len(load_collection("embedded", "test").queries()) >= 200
    assert len(load_collection("embedded:dev").queries()) >= 100


def test_ids_and_texts_are_unique_and_lengths_bounded() -> None:
    pairs = build_pairs()
    for values in (
        [p.document.doc_id for p in pairs],
        [p.document.text for p in pairs],
        [p.query.query_id for p in pairs],
        [normalized(p.query.text) for p in pairs],
    ):
        assert len(set(values)) == len(values)
    assert all(len(pair.document.text) <= MAX_CHARACTERS for pair in pairs)
    assert [pair.document.doc_id for pair in pairs] == sorted(pair.document.doc_id for pair in pairs)
    assert not any(re.search(r"\s", pair.query.query_id + pair.document.doc_id) for pair in pairs)


def test_no_query_is_in_its_document() -> None:
    for pair in build_pairs():
        assert normalized(pair.query.text) not in normalized(pair.document.text)


@pytest.mark.parametrize("module", ["json.decoder", "argparse", "collections", "zipfile"])
def test_no_docstring_of_a_module_is_in_its_documents(module: str) -> None:
    """Independently of how the documents were made: inspect's docstrings against their text."""
    loaded = importlib.import_module(module)
    tree = ast.parse(inspect.getsource(loaded))
    docstrings = {
        docstring
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (docstring := ast.get_docstring(node))
    }
    long_ones = [normalized(docstring) for docstring in docstrings if len(docstring.split()) >= 5]
    assert long_ones
    documents = [p.document.text for p in build_pairs() if p.document.doc_id.startswith(f"{module}.")]
    assert documents
    for text in map(normalized, documents):
        assert not [docstring for docstring in long_ones if docstring in text]


def test_a_known_pair() -> None:
    (pair,) = [p for p in build_pairs() if p.document.doc_id == "json.decoder.JSONDecoder.raw_decode"]
    assert pair.query.text.startswith("Decode a JSON document from ``s``")
    assert pair.document.text.startswith("def raw_decode(self, s, idx=0):\n    try:\n")
    assert pair.split == split_of("json.decoder")


def test_no_module_is_in_two_splits() -> None:
    modules: dict[str, set[str]] = {}
    for split in SPLITS:
        for document_ids in load_collection("embedded", split).qrels().values():
            (doc_id,) = document_ids
            modules.setdefault(_module_of(doc_id), set()).add(split)
    assert len(modules) > 200
    assert all(len(splits) == 1 for splits in modules.values())


def _module_of(doc_id: str) -> str:
    """The longest prefix that is a source file, found on disk and not by our own parser."""
    root = Path(standard_library.sysconfig.get_path("stdlib"))
    parts = doc_id.split(".")
    for end in range(len(parts), 0, -1):
        path = root.joinpath(*parts[:end])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts[:end])
    raise AssertionError(doc_id)


def test_two_builds_write_equal_bytes(tmp_path: Path) -> None:
    write_embedded(tmp_path / "one")
    build_pairs.cache_clear()
    write_embedded(tmp_path / "two")
    names = sorted(str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*.*"))
    assert names == ["corpus.jsonl", "qrels/dev.tsv", "qrels/test.tsv", "qrels/train.tsv", "queries.jsonl"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    written, embedded = load_collection(str(tmp_path / "one"), "test"), load_collection("embedded", "test")
    assert list(written.documents()) == list(embedded.documents())
    assert written.queries() == embedded.queries()
    assert written.qrels() == embedded.qrels()


def test_errors() -> None:
    with pytest.raises(UsageError, match="no split 'validation'; available: dev, test, train"):
        load_collection("embedded", "validation")
    with pytest.raises(UsageError, match="choose a split"):
        load_collection("embedded").qrels()


def test_nothing_is_imported() -> None:
    assert "turtledemo.clock" not in sys.modules
    assert any(pair.document.doc_id.startswith("turtledemo.") for pair in build_pairs())
    assert "turtledemo.clock" not in sys.modules

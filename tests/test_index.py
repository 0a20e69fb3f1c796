"""The index verb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.index import main
from iaa_retrieval.java import find_java
from iaa_retrieval.pyserini_plugin import indexer_process, lucene_index
from iaa_retrieval.pyserini_plugin.lucene_index import build_index

pytestmark = [
    pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine"),
    pytest.mark.usefixtures("same_environment"),
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    documents = {"a": "red apple", "b": "", "c": "blue plum", "d": "the", "e": "apple tree"}
    path.write_text("".join(json.dumps({"id": key, "contents": text}) + "\n" for key, text in documents.items()))
    return path


def index(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_counts_documents_and_empty_ones(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "made" / "index"
    result = index("--collection", corpus, "--output", output, "--threads", 2)
    assert result.exit_code == 0, result.output
    # Only "b" is empty; "d" holds a stop word alone, which is a document all the same.
    assert result.output == f"Indexed 4 documents (1 empty left out) in {output}\n"
    assert list(output.glob("segments_*"))
    assert [path.name for path in output.parent.iterdir()] == ["index"]


def test_an_output_that_holds_something_is_refused(corpus: Path, tmp_path: Path) -> None:
    result = index("--collection", corpus, "--output", tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path} is not empty" in result.output
    assert corpus.is_file()


def test_damaged_data_is_named_by_line_and_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    with corpus.open("a") as stream:
        stream.write("{broken\n")
    result = index("--collection", corpus, "--output", tmp_path / "index")
    assert result.exit_code == 1
    assert f"{corpus}:6" in result.output
    assert [path.name for path in tmp_path.iterdir()] == [corpus.name]


def test_a_failing_indexer_gives_its_reason_in_one_line_and_keeps_its_log(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = (
        "12:00 INFO  [main] index.IndexCollection - started\njava.lang.RuntimeException: it broke\n"
        "\tat io.A.b(A.java:1)\nCaused by: java.lang.OutOfMemoryError: Java heap space\n\tat io.C.d(C.java:2)\n"
        "12:01 INFO  [main] x.Y - done\n"
    )

    def fail(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 3, log, "")

    monkeypatch.setattr(indexer_process.subprocess, "run", fail)
    result = index("--collection", corpus, "--output", tmp_path / "index")
    assert result.exit_code == 1
    assert result.output == (
        "Error: Pyserini's indexer failed (exit code 3): java.lang.OutOfMemoryError: Java heap space; give "
        "Java more memory with the environment variable JAVA_TOOL_OPTIONS, such as -Xmx8g; its whole log is "
        f"{tmp_path}/index.indexer.log\n"
    )
    assert (tmp_path / "index.indexer.log").read_text() == log
    assert sorted(path.name for path in tmp_path.iterdir()) == [corpus.name, "index.indexer.log"]


def test_lost_documents_are_an_error(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lucene_index, "_run_indexer", lambda *arguments: 3)
    with pytest.raises(IaaRetrievalError, match="indexed 3 of the 4 documents"):
        build_index(str(corpus), tmp_path / "index")
    assert not (tmp_path / "index").exists()


BLANK = {"control": "\x01\x02\x1f", "spaces": " \t"}
NOT_BLANK = {
    "no-break": "\xa0\u3000a",
    "next-line": "\x85a",
    "nul": "\x00a",
    "marks": "\ufeff\ufffe\uffff\u2028",
    "dots": "...",
}


def test_documents_of_control_characters_are_counted_as_lucene_counts_them(tmp_path: Path) -> None:
    documents = {"a": "red apple", **BLANK, **NOT_BLANK, "token": "x" * 40_000, "long": "x" * 20_100_000}
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": key, "contents": text}) + "\n" for key, text in documents.items()))
    report = build_index(str(corpus), tmp_path / "index", threads=2)
    # The last one is longer than the JSON reader of Anserini takes by itself.
    assert (report.documents, report.empty_documents) == (len(documents) - len(BLANK), len(BLANK))


def test_a_document_that_lucene_cannot_take_is_named_or_left_out(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with corpus.open("a") as stream:
        stream.write(json.dumps({"id": "é" * 16_384, "contents": "pear"}) + "\n")
    result = index("--collection", corpus, "--output", tmp_path / "index")
    assert result.exit_code == 1
    assert result.output.startswith(
        f"Error: document 6, {'é' * 40}..., has an id of 32768 bytes, and Lucene takes 32766;"
    )
    assert "--skip-bad" in result.output and result.output.count("\n") == 1
    assert not (tmp_path / "index").exists()
    result = index("--collection", corpus, "--output", tmp_path / "index", "--skip-bad")
    assert result.exit_code == 0, result.output
    assert f"Indexed 4 documents (1 empty, 1 bad left out) in {tmp_path / 'index'}\n" in result.output
    assert [record.getMessage()[:34] for record in caplog.records] == ["1 of 6 documents left out, which L"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--language", "xx"), "--language xx: Pyserini has no analyser of that name, only en, ar,"),
        (("--language", "zh", "--pretokenized"), "not as --language zh; choose one"),
    ],
)
def test_an_analysis_that_anserini_would_take_for_english_is_refused(
    corpus: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = index("--collection", corpus, "--output", tmp_path / "index", *options)
    assert result.exit_code == 2
    assert message in result.output


SCIFACT = """
import json, sys
from pathlib import Path
import pytrec_eval
from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.pyserini_plugin.bm25 import bm25_run
from iaa_retrieval.pyserini_plugin.lucene_index import build_index
report = build_index("beir/scifact", Path(sys.argv[1]), threads=2)
collection = load_collection("beir/scifact/test")
run = bm25_run(report.output, collection.queries(), hits=100, threads=2)
evaluator = pytrec_eval.RelevanceEvaluator(collection.qrels(), {"ndcg_cut.10", "recall.100"})
print(json.dumps([report.documents, report.empty_documents, list(evaluator.evaluate(run).values())]))
"""


def test_scifact_bm25_has_the_published_scores(irds_home: Path, tmp_path: Path) -> None:
    # A process of its own: ir_datasets settles where its home is when it is first imported.
    done = subprocess.run(
        [sys.executable, "-c", SCIFACT, str(tmp_path / "index")],
        capture_output=True,
        text=True,
        env={**os.environ, "IR_DATASETS_HOME": str(irds_home)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    documents, empty, scores = json.loads(done.stdout.splitlines()[-1])
    assert (documents, empty, len(scores)) == (5183, 0, 300)
    # Pyserini's two-click reproduction, condition bm25-flat.
    assert sum(score["ndcg_cut_10"] for score in scores) / 300 == pytest.approx(0.6789, abs=5e-5)
    assert sum(score["recall_100"] for score in scores) / 300 == pytest.approx(0.9253, abs=5e-5)


def test_a_pretokenized_index_is_searched_as_such(tmp_path: Path) -> None:
    from iaa_retrieval.collections.types import Query
    from iaa_retrieval.pyserini_plugin.bm25 import bm25_run

    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "contents": "##running the"}\n{"id": "b", "contents": "run"}\n')
    result = index("--collection", corpus, "--output", tmp_path / "index", "--pretokenized")
    assert result.exit_code == 0, result.output
    run = bm25_run(tmp_path / "index", [Query("1", "##running"), Query("2", "the"), Query("3", "running")])
    assert {query_id: list(hits) for query_id, hits in run.items()} == {"1": ["a"], "2": ["a"], "3": []}

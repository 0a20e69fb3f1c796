"""Case 09: a judgment without its document or query leaves the collection usable (train has a test of its own)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.qrels import read_qrels
from iaa_retrieval.collections.runs import write_run
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.evaluate import main as evaluate

DANGLING = {"doc": "q3\tw99z\t1\n", "query": "q99\tw05a\t1\n"}


@pytest.fixture(params=DANGLING)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def beir(kind: str, reported_cases: Path, tmp_path: Path) -> Path:
    directory = Path(shutil.copytree(reported_cases / "common" / "beir", tmp_path / "beir"))
    for split in ("train", "test"):
        with open(directory / "qrels" / f"{split}.tsv", "a") as stream:
            stream.write(DANGLING[kind])
    return directory


def test_the_queries_that_exist_are_searched_and_what_is_judged_counts(
    kind: str, beir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queries = [query.query_id for query in read_topics(f"{beir}:test")]
    assert queries == [f"q{number}" for number in range(8)]
    sound = {query_id: grades for query_id, grades in read_qrels(f"{beir}:test").items() if query_id in queries}
    found = {query_id: {min(grades): 1.0} for query_id, grades in sound.items()}
    write_run(tmp_path / "run.trec", found, "test")
    caplog.clear()
    options = ["--qrels", f"{beir}:test", "--run", str(tmp_path / "run.trec"), "--metrics", "R@5"]
    result = CliRunner().invoke(evaluate, options)
    assert result.exit_code == 0, result.output
    # A query has one relevant document: of nine queries one is not found, or of eight one has half of its documents.
    assert f"{8 / 9 if kind == 'query' else 7.5 / 8:.4f}" in result.output
    assert len(caplog.messages) == (kind == "query")
    if kind == "query":
        assert "1 of 9 judged queries are not in" in caplog.text and "'q99'" in caplog.text


def test_a_run_says_it_once(kind: str, beir: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        collection = load_collection(str(beir), "test")
        collection.qrels()
        collection.queries()
    assert len(caplog.messages) == (kind == "query")


def test_judgments_of_another_collection_are_an_error(beir: Path, kind: str) -> None:
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nx1\tw05a\t1\nx2\tw05b\t1\n")
    collection = load_collection(str(beir), "test")
    for read in (collection.qrels, collection.queries):
        with pytest.raises(IaaRetrievalError, match=r"test\.tsv judges query 'x1', which is not in .*one collection\?"):
            read()
    assert load_collection(str(beir), "train").queries()

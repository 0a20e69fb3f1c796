"""Case 06: a query that is a whole document has more terms than Lucene takes by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from iaa_retrieval import index, search
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.java import find_java

pytestmark = [
    pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine"),
    pytest.mark.usefixtures("same_environment"),
]


def test_a_query_of_any_length_is_searched_with_the_same_scores_both_ways(reported_cases: Path, tmp_path: Path) -> None:
    from iaa_retrieval.pyserini_plugin.bm25 import bm25_run

    shutil.copytree(reported_cases / "common" / "beir", tmp_path / "beir")
    shutil.copy(reported_cases / "06-too-many-clauses" / "queries.tsv", tmp_path)
    topics, lucene = tmp_path / "queries.tsv", tmp_path / "lucene"
    made = CliRunner().invoke(
        index.main, ["--collection", str(tmp_path / "beir"), "--output", str(lucene), "--threads", "1"]
    )
    assert made.exit_code == 0, made.output
    common = ["lucene", "--bm25", "--index", str(lucene), "--topics", str(topics), "--hits", "5"]
    for name, more in (("one", []), ("batch", ["--batch-size", "8", "--threads", "2"])):
        found = CliRunner().invoke(search.main, [*common, *more, "--output", str(tmp_path / name)])
        assert found.exit_code == 0, found.output
    run = read_run(tmp_path / "one")
    assert set(run) == {"short", "long", "other"}
    assert len(run["long"]) == 5
    assert run == read_run(tmp_path / "batch") == bm25_run(lucene, read_topics(topics), hits=5)

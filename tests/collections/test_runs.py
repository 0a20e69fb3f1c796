import gzip
import subprocess
from pathlib import Path
from random import Random

import pytest

from iaa_retrieval.collections.runs import rank, read_run, write_run
from iaa_retrieval.errors import IaaRetrievalError


def test_equal_scores_are_ordered_by_descending_document_id() -> None:
    # "9" > "10" as strings, as in trec_eval.
    assert [doc_id for doc_id, _ in rank({"10": 1.0, "9": 1.0, "a": 2.0, "b": 0.5})] == ["a", "9", "10", "b"]


def test_scores_are_compared_as_float32_numbers() -> None:
    assert [doc_id for doc_id, _ in rank({"a": 1.00000004, "b": 1.0})] == ["b", "a"]  # one float32 number
    assert [doc_id for doc_id, _ in rank({"a": 1.0000002, "b": 1.0})] == ["a", "b"]
    assert [doc_id for doc_id, _ in rank({"a": 2e-7, "b": 1e-7})] == ["a", "b"]
    assert [doc_id for doc_id, _ in rank({"a": 16_777_217.0, "b": 16_777_216.0})] == ["b", "a"]


def random_hits(random: Random) -> dict[str, float]:
    """Scores of one magnitude, with ties and near ties, among ids of one to three digits."""
    magnitude = 10.0 ** random.randint(-12, 12)
    scores = [
        magnitude * random.choice((1.0, 1 + 1e-8, 1 + 1e-7, 1 + 3e-7, 1 + 1e-6, -1.0, random.random()))
        for _ in range(12)
    ]
    return {str(doc_id): score for doc_id, score in zip(random.sample(range(1, 200), 12), scores, strict=True)}


def test_rank_and_the_written_file_agree_with_trec_eval(tmp_path: Path, same_environment: None) -> None:
    """A judgment of one document at a time: its reciprocal rank says where trec_eval puts it.

    trec_eval itself, as Pyserini carries it, reads the file; pytrec_eval gets the scores in memory.
    """
    import pytrec_eval

    random = Random(7)
    run = {f"q{number}": random_hits(random) for number in range(40)}
    write_run(tmp_path / "run.trec", run, "tag")
    expected: dict[str, dict[str, int]] = {}
    qrels: list[str] = []
    in_memory: dict[str, dict[str, float]] = {}
    copies: list[str] = []
    lines = [line.split() for line in (tmp_path / "run.trec").read_text().splitlines()]
    for query_id, hits in run.items():
        for position, (doc_id, _) in enumerate(rank(hits), start=1):
            name = f"{query_id}-{doc_id}"
            expected[name] = {"position": position}
            qrels.append(f"{name} 0 {doc_id} 1\n")
            in_memory[name] = hits
    for query_id, q0, doc_id, position, score, tag in lines:
        for other in run[query_id]:
            copies.append(f"{query_id}-{other} {q0} {doc_id} {position} {score} {tag}\n")
    (tmp_path / "copies.trec").write_text("".join(copies))
    (tmp_path / "qrels.txt").write_text("".join(qrels))
    judged = {name: {name.split("-")[1]: 1} for name in expected}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"})
    found = evaluator.evaluate(in_memory)
    for name, entry in expected.items():
        assert found[name]["recip_rank"] == pytest.approx(1 / entry["position"]), name
    for name, reciprocal in trec_eval_reciprocal_ranks(tmp_path / "qrels.txt", tmp_path / "copies.trec").items():
        assert reciprocal == pytest.approx(1 / expected[name]["position"], abs=1e-4), name


def trec_eval_reciprocal_ranks(qrels: Path, run: Path) -> dict[str, float]:
    """What the trec_eval inside Pyserini's jar prints per query."""
    from iaa_retrieval.java import anserini_jar, prepare_java

    java = prepare_java().home / "bin" / "java"
    words = [str(java), "-cp", str(anserini_jar()), "trec_eval"]
    done = subprocess.run(
        [*words, "-q", "-m", "recip_rank", str(qrels), str(run)], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("recip_rank")]
    values = {query_id: float(value) for _, query_id, value in rows if query_id != "all"}
    assert values
    return values


def test_a_written_run_has_one_form(tmp_path: Path) -> None:
    path = tmp_path / "r.trec"
    write_run(path, {"q2": {"d1": 0.1234567}, "q1": {"a": 1.0, "b": 1.0, "c": -2}}, "tag")
    assert path.read_text() == (
        "q1 Q0 b 1 1.000000 tag\nq1 Q0 a 2 1.000000 tag\nq1 Q0 c 3 -2.000000 tag\nq2 Q0 d1 1 0.123457 tag\n"
    )
    again = tmp_path / "again.trec"
    write_run(again, read_run(path), "tag")
    assert again.read_bytes() == path.read_bytes()


def test_reads_gzip_and_ignores_the_rank_column(tmp_path: Path) -> None:
    (tmp_path / "r.gz").write_bytes(gzip.compress(b"q1\tQ0\td1 7 0.5 x\nq1 Q0 d2 7 1e-1 x\n"))
    assert read_run(tmp_path / "r.gz") == {"q1": {"d1": 0.5, "d2": 0.1}}


@pytest.mark.parametrize(("text", "message"), [
    ("q1 Q0 d1 1 0.5 x\nq1 Q0 d2 2 0.4\n", "r:2: expected 6 columns .* found 5"),
    ("q1 Q0 d1 1 high x\n", "r:1: score 'high' is not a finite number"),
    ("q1 Q0 d1 1 nan x\n", "r:1: score 'nan' is not a finite number"),
    ("q1 Q0 d1 1 1 x\n\nq1 Q0 d1 2 0.5 x\n", "r:3: document 'd1' occurs twice for query 'q1'"),
    ("", "holds no hits"),
])  # fmt: skip
def test_bad_files_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(IaaRetrievalError, match=message):
        read_run(tmp_path / "r")


@pytest.mark.parametrize(("run", "tag", "message"), [
    ({"q 1": {"d": 1.0}}, "x", "'q 1'"),
    ({"q": {"d 1": 1.0}}, "x", "'d 1'"),
    ({"q": {"d": 1.0}}, "", "tag of .*r.trec"),
    ({"q": {"d": float("nan")}}, "x", "query 'q', document 'd': score nan"),
])  # fmt: skip
def test_an_unwritable_run_leaves_the_old_file(tmp_path: Path, run, tag: str, message: str) -> None:
    path = tmp_path / "r.trec"
    path.write_text("old")
    with pytest.raises(IaaRetrievalError, match=message):
        write_run(path, run, tag)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

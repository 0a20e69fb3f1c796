import json
from dataclasses import replace
from pathlib import Path

import pytest
from reproduction_files import toy_values, write_reproduction

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.loading import load_reproduction
from iaa_retrieval.reproduction.results import (
    Result,
    SeedResult,
    read_history,
    read_result,
    read_results,
    with_further_seeds,
    write_result,
)


def toy_result() -> Result:
    history = [{"step": 10, "loss": 0.5}, {"step": 20, "nDCG@10": 0.7}]
    seeds = {
        42: SeedResult({"test": {"nDCG@10": {"q1": 1.0, "q2": 0.6309297535714574}, "R@5": {"q1": 0.0}}}, 12.5, history),
        43: SeedResult({"test": {"nDCG@10": {"q1": 0.5, "q2": 0.5}}, "dev": {}}, None, []),
    }
    return Result("2026-11-21", "2 CPU cores", {"torch": "2.13.0"}, False, seeds)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "below" / "result.json"
    write_result(path, toy_result())
    json.loads(path.read_text())
    found = read_result(path)
    assert found.seeds[43] == toy_result().seeds[43]
    assert found.first.history == toy_result().first.history
    assert found.first.per_query["test"]["nDCG@10"]["q2"] == 0.63093  # six decimals
    assert (found.date, found.hardware, found.versions) == ("2026-11-21", "2 CPU cores", {"torch": "2.13.0"})
    assert path.read_text().count("\n") < 40


def test_means() -> None:
    result = toy_result()
    assert result.seed_means("test", "nDCG@10") == {42: pytest.approx(0.81546488), 43: 0.5}
    assert result.mean("test", "nDCG@10") == pytest.approx(0.65773244)
    assert result.mean("test", "R@5") is None  # not of every seed
    assert result.mean("other", "nDCG@10") is None


def test_further_seeds_are_of_the_same_versions() -> None:
    later = Result("2026-11-22", "1 GPU", {"torch": "2.13.0"}, False, {44: toy_result().seeds[43]})
    both = with_further_seeds(toy_result(), later)
    assert list(both.seeds) == [42, 43, 44]
    assert (both.date, both.hardware) == ("2026-11-22", "2 CPU cores; 1 GPU")
    with pytest.raises(IaaRetrievalError, match=r"torch differs .*: 42, 43 with 2\.13\.0 and 44 with 2\.15\.0"):
        with_further_seeds(toy_result(), replace(later, versions={"torch": "2.15.0"}))


@pytest.mark.parametrize("content", ["{}", '{"seeds": {}}', '{"seeds": {"42": {"x": 1}}}', "[]"])
def test_a_damaged_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(IaaRetrievalError, match=r"result\.json .*run the condition again"):
        read_result(path)


def test_results_of_a_collection(tmp_path: Path) -> None:
    write_reproduction(tmp_path, toy_values(tmp_path))
    toy = load_reproduction("toy", tmp_path)
    assert read_results(toy) == {}
    path = toy.plans[1].result_file
    assert path == tmp_path / "results" / "toy" / "reranking" / "copied.json"
    write_result(path, toy_result())
    assert list(read_results(toy)) == [("reranking", "copied")]


def test_the_history_of_a_training(tmp_path: Path) -> None:
    entries = [
        {"loss": 0.512345, "grad_norm": 1.0, "learning_rate": 0.1, "epoch": 0.5, "step": 10},
        {"eval_nDCG@10": 0.712345, "eval_MRR@10": 0.65, "eval_runtime": 3.0, "epoch": 0.5, "step": 10},
        {"train_runtime": 5.0, "step": 20},
    ]
    (tmp_path / "history.json").write_text(json.dumps(entries))
    assert read_history(tmp_path) == [
        {"step": 10, "loss": 0.5123},
        {"step": 10, "nDCG@10": 0.7123, "MRR@10": 0.65},
    ]

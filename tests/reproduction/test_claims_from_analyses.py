"""Claims about what ``analyze`` wrote, from files in its form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_results import keep, only_case, toy_with_rows

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.claims.judging import Judgement, Verdict
from iaa_retrieval.reproduction.claims.saved_analyses import flatter_minima, more_direct_updates
from iaa_retrieval.reproduction.plan import Reproduction


@pytest.fixture
def toy(tmp_path: Path) -> Reproduction:
    toy = toy_with_rows(tmp_path)
    keep(toy, "iaa-l-0.5", 0.7)
    return toy


def write(toy: Reproduction, name: str, header: str, *rows: str) -> None:
    directory = only_case(toy).analyses
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text("\n".join([header, *rows]) + "\n")


def directions(toy: Reproduction, iaa: float) -> Judgement:
    write(
        toy,
        "update-direction.csv",
        "method,step,side,layer,update,cosine,norm_ratio",
        f"iaa-l,0,all,all,optimiser,{iaa - 0.1},1.0",
        f"iaa-l,10,all,all,optimiser,{iaa + 0.1},1.0",
        "iaa-l,20,all,all,optimiser,,",  # nothing moved
        "iaa-l,0,all,1,optimiser,0.99,1.0",  # one layer, another side and another update count for nothing
        "iaa-l,0,queries,all,optimiser,0.99,1.0",
        "iaa-l,0,all,all,plain,0.99,1.0",
        "lora,0,all,all,optimiser,0.3,1.0",
        "adapter,0,all,all,optimiser,0.2,1.0",
        "full,0,all,all,optimiser,0.9,1.0",
    )
    (judged,) = more_direct_updates("IAA", [only_case(toy)]).judgements
    return judged


def test_directions(toy: Reproduction) -> None:
    assert directions(toy, 0.4) == Judgement(
        only_case(toy), Verdict.CONFIRMED, "Mean cosine: iaa-l 0.4, lora 0.3, adapter 0.2, full 0.9"
    )
    assert directions(toy, 0.25).verdict is Verdict.NOT_DECIDED
    assert directions(toy, 0.1).verdict is Verdict.CONTRADICTED


def surfaces(toy: Reproduction, *rises: tuple[str, float]) -> Judgement:
    content = {"surfaces": [{"method": method, "rise": rise, "loss": 0.1} for method, rise in rises]}
    write(toy, "loss-surface.json", json.dumps(content))
    (judged,) = flatter_minima("IAA", [only_case(toy)]).judgements
    return judged


def test_loss_surfaces(toy: Reproduction) -> None:
    # Two checkpoints of one method: 1.5 on average.
    confirmed = surfaces(toy, ("iaa-l", 1.0), ("iaa-l", 2.0), ("adapter", 1.6))
    assert (confirmed.verdict, confirmed.numbers) == (Verdict.CONFIRMED, "Rise of the loss: iaa-l 1.5, adapter 1.6")
    assert surfaces(toy, ("iaa-l", 2.0), ("adapter", 1.6)).verdict is Verdict.CONTRADICTED
    assert surfaces(toy, ("iaa-l", 1.7), ("iaa-s", 1.0), ("adapter", 1.6)).verdict is Verdict.NOT_DECIDED
    assert surfaces(toy, ("iaa-l", 1.7)).verdict is Verdict.NOT_MEASURED


def test_what_is_not_there_or_damaged(toy: Reproduction) -> None:
    (judged,) = flatter_minima("IAA", [only_case(toy)]).judgements
    assert judged.verdict is Verdict.NOT_MEASURED
    assert judged.numbers == "`analyze` has not been run (loss-surface.json is not kept)."
    write(toy, "loss-surface.json", '{"surfaces": [{"method": "iaa-l"}]}')
    with pytest.raises(IaaRetrievalError, match=r"loss-surface.json is damaged: 'rise'; write it with"):
        flatter_minima("IAA", [only_case(toy)])
    write(toy, "update-direction.csv", "method,step", "iaa-l,0")
    with pytest.raises(IaaRetrievalError, match=r"update-direction.csv is damaged: 'update'; write it with"):
        more_direct_updates("IAA", [only_case(toy)])

from typing import Any

import pytest

from iaa_retrieval.errors import UsageError
from iaa_retrieval.training.options import TrainOptions


def options(kind: str = "bi-encoder", **values: Any) -> TrainOptions:
    return TrainOptions.of(kind=kind, collection="c", output="o", **values)


def test_defaults_depend_on_kind_and_method() -> None:
    bi, cross = options().resolved(), options("cross-encoder").resolved()
    assert (bi.lr, bi.batch_size, bi.negatives_per_query) == (1e-3, 32, 1)
    assert (cross.lr, cross.batch_size, cross.negatives_per_query) == (1e-3, 16, 3)
    assert options(method="full").resolved().lr == 3e-5
    assert options("cross-encoder", method="full").resolved().lr == 5e-5
    given = options(method="full", lr=0.1, batch_size=2, negatives_per_query=0).resolved()
    assert (given.lr, given.batch_size, given.negatives_per_query) == (0.1, 2, 0)


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"lr": 0.0}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"batch_size": 0}, "--batch-size"),
        ({"negatives_per_query": -1}, "--negatives-per-query"),
        ({"kind": "cross-encoder", "negatives_per_query": 0}, "--negatives-per-query"),
        ({"epochs": 0.0}, "--epochs"),
        ({"train_queries": 0}, "--train-queries"),
        ({"dev_queries": 0}, "--dev-queries"),
        ({"dev_depth": 0}, "--dev-depth"),
        ({"eval_steps": 0}, "--eval-steps"),
        ({"patience": 0, "dev_split": "dev"}, "--patience"),
        ({"weight_decay": -0.1}, "--weight-decay"),
        ({"temperature": 0.0}, "--temperature"),
        ({"dev_fraction": 1.0}, "--dev-fraction"),
        ({"dropout": 1.0}, "--dropout"),
        ({"warmup": 1.0}, "--warmup"),
        ({"negative_ranks": (5, 4)}, "--negative-ranks"),
        ({"negative_margin": -1.0}, "--negative-margin"),
        ({"grad_cache": 0}, "--grad-cache"),
        ({"dev_metric": "P@5"}, "--dev-metric"),
        ({"loss": "triplet"}, "--loss"),
        ({"teacher": "run.trec", "distillation": "mse"}, "--distillation"),
        ({"teacher": "run.trec", "distillation_weight": 0.0}, "--distillation-weight"),
        ({"teacher": "run.trec", "distillation_weight": 1.1}, "--distillation-weight"),
        ({"teacher": "run.trec", "teacher_temperature": 0.0}, "--teacher-temperature"),
    ],
)
def test_numbers_out_of_range(values: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option} .* is out of range"):
        options(**values).resolved()


def test_contradictions() -> None:
    with pytest.raises(UsageError, match="give one of them"):
        options(dev_split="dev", dev_fraction=0.1).resolved()
    with pytest.raises(UsageError, match="--patience stops on the dev score"):
        options(patience=2).resolved()
    with pytest.raises(UsageError, match="unknown kind of model 'encoder'"):
        options("encoder").resolved()


def test_distillation_needs_a_teacher() -> None:
    with pytest.raises(UsageError, match=r"--distillation, --teacher-temperature needs a scored run .* --teacher"):
        options(distillation="kl", teacher_temperature=0.05).resolved()
    with pytest.raises(UsageError, match="use --negatives-per-query 1 or more"):
        options(teacher="run.trec", negatives_per_query=0).resolved()
    hyper = options(teacher="run.trec").resolved()
    assert (hyper.distillation, hyper.distillation_weight, hyper.teacher_temperature) == ("kl", 0.5, 1.0)
    assert options().resolved().distillation is None


def test_steps_instead_of_epochs() -> None:
    options(epochs=0.0, max_steps=3).resolved()

from pathlib import Path
from typing import Any

import pytest
import yaml

from iaa_retrieval.errors import UsageError
from iaa_retrieval.models.kinds import RETRIEVERS
from iaa_retrieval.options import flat
from iaa_retrieval.train import main
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.losses.loss import KINDS
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
        ({"negative_margin": "120%"}, "--negative-margin"),
        ({"negative_margin": "most"}, "--negative-margin"),
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


def test_the_options_and_the_losses_know_every_kind() -> None:
    assert tuple(TRAINING_KINDS) == tuple(RETRIEVERS) == KINDS


def test_steps_instead_of_epochs() -> None:
    options(epochs=0.0, max_steps=3).resolved()


SAVED_BEFORE = """\
kind: KIND
collection: beir/scifact/train
output: runs/one
backbone: models/bert
method: lora
budget: null
r: 7
ar: null
prefix_length: null
scaling: 2.0
activation: null
peft_config: null
split: train
negatives: bm25.trec
negatives_per_query: 2
negative_ranks:
- 3
- 40
negative_margin: null
teacher: teacher.trec
distillation: margin-mse
distillation_weight: 0.25
teacher_temperature: 1.0
LOSS
train_queries: null
dev_split: null
dev_fraction: 0.1
dev_run: null
dev_queries: 30
dev_depth: 5
dev_metric: MRR@10
epochs: 2.0
max_steps: -1
eval_steps: 9
patience: null
lr: 0.002
batch_size: 4
grad_cache: null
warmup: 0.1
weight_decay: 0.02
dropout: 0.1
query_prefix: ''
document_prefix: null
query_max_length: 32
document_max_length: null
train_max_length: null
seed: 3
precision: fp32
device: cpu
report_to: none
"""
BI_ENCODER_LINES = """\
dev_documents: 77
temperature: 0.02
pooling: cls
normalize: false
separate_encoders: true
"""


@pytest.mark.parametrize(("kind", "extra"), [("bi-encoder", BI_ENCODER_LINES), ("cross-encoder", "loss: pairwise\n")])
def test_a_configuration_from_before_options_were_in_groups(kind: str, extra: str, tmp_path: Path) -> None:
    saved = SAVED_BEFORE.replace("KIND", kind).replace("LOSS\n", extra)
    (tmp_path / "train_config.yaml").write_text(saved)
    command = main.commands[kind]
    read = command.make_context(kind, ["--config", str(tmp_path / "train_config.yaml")]).params
    asked = TrainOptions.of(kind=kind, **read)
    asked.resolved()
    assert asked.tuning.dimensions == {"r": 7} and asked.data.negative_ranks == (3, 40)
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in flat(asked).items()}
    assert values.items() >= yaml.safe_load(saved).items()
    # Those of the other kind have their defaults.
    assert (asked.dev.dev_documents, asked.objective.loss) == (
        (77, None) if kind == "bi-encoder" else (2000, "pairwise")
    )


def test_dimensions_stay_side_by_side_with_the_others_in_records() -> None:
    names = list(flat(options(r=3)))
    place = names.index("budget")
    assert names[place : place + 5] == ["budget", "r", "ar", "prefix_length", "scaling"]
    assert (flat(options(r=3))["r"], flat(options(r=3))["ar"]) == (3, None)


def test_a_peft_configuration_replaces_what_is_said_about_the_method() -> None:
    peft = {"peft_type": "IA3"}
    assert options(peft_config=peft).tuning.method_name == "peft-ia3"
    with pytest.raises(UsageError, match=r"leave out --method, --budget, --prefix-length, --scaling$"):
        options(peft_config=peft, method="mam", budget="1%", prefix_length=3, scaling=2.0).resolved()

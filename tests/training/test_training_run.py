import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from interruptions import Killed, kill_after_steps, kill_at_epoch
from safetensors.torch import load_file
from transformers import TrainingArguments

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.options import changed
from iaa_retrieval.training import loop
from iaa_retrieval.training import run as training_run
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.trainer import RetrievalTrainer, last_checkpoint, trained_state
from iaa_retrieval.tuning.methods import get_method, method_names
from iaa_retrieval.work_in_progress import locked

Options = Callable[..., TrainOptions]
HIDDEN, LAYERS = 32, 3  # of the tiny backbone
DIMENSIONS = {"r": 3, "ar": 5, "prefix_length": 4}


def weights(directory: Path | str) -> dict[str, torch.Tensor]:
    directory = Path(directory)
    name = "model.safetensors" if (directory / "model.safetensors").exists() else "adapter_model.safetensors"
    return load_file(directory / name)


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
@pytest.mark.parametrize("method", method_names())
def test_every_method_at_both_stages(method: str, kind: str, toy_options: Options) -> None:
    dimensions = {name: DIMENSIONS[name] for name in get_method(method).dimension_names}
    result = train_retriever(toy_options(kind, method=method, max_steps=2, lr=1e-2, **dimensions))
    load: Any = load_bi_encoder if kind == "bi-encoder" else load_cross_encoder
    model = load(str(result.output), precision="fp32", device="cpu")
    assert (model.config.kind, model.config.method, model.config.dimensions) == (kind, method, dimensions)
    assert model.config.training["steps"] == 2
    assert model.config.trainable_parameters == result.trainable_parameters
    counts = result.trainable_parameters
    saved = weights(result.output)
    network = model.encoder if kind == "bi-encoder" else model.classifier
    base = load_bi_encoder(model.config.backbone, precision="fp32", device="cpu").encoder.state_dict()
    if method == "full":
        trained = {name: tensor for name, tensor in saved.items() if kind != "bi-encoder" or "pooler" not in name}
        assert sum(tensor.numel() for tensor in trained.values()) == sum(counts.values())
        assert not torch.equal(network.base_model.embeddings.word_embeddings.weight, base_weight(base))
        return
    assert sum(tensor.numel() for tensor in saved.values()) == sum(counts.values())
    if method != "bitfit":
        assert counts["weights"] == get_method(method).weight_count(HIDDEN, LAYERS, dimensions)
    # Take the method away again: what is left is the backbone, untouched.
    with network.disable_adapter():
        frozen = dict(network.get_base_model().base_model.named_parameters())
        for name, tensor in base.items():
            left = [parameter for other, parameter in frozen.items() if other.replace(".base_layer", "") == name]
            if left and not (kind == "cross-encoder" and "pooler" in name):
                assert torch.equal(left[0], tensor), name
    changed = [name for name, tensor in saved.items() if tensor.abs().max() > 0]
    assert len(changed) > len(saved) / 2


def base_weight(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return state["embeddings.word_embeddings.weight"]


@pytest.mark.parametrize("backbone", ["distilbert", "roberta"])
def test_other_backbones(backbone: str, toy_options: Options, tiny_backbone: Callable[[str], Path]) -> None:
    for kind, load in (("bi-encoder", load_bi_encoder), ("cross-encoder", load_cross_encoder)):
        options = toy_options(kind, kind, backbone=str(tiny_backbone(backbone)), max_steps=2)
        assert load(str(train_retriever(options).output)).config.training["steps"] == 2


@pytest.mark.parametrize("kind", ["bi-encoder", "cross-encoder"])
def test_seeds(kind: str, toy_options: Options) -> None:
    runs = [
        weights(train_retriever(toy_options(kind, name, seed=seed, max_steps=2)).output)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert same(runs[0], runs[1])
    assert not any(torch.equal(runs[0][name], runs[2][name]) for name in runs[0] if name.endswith("down.weight"))
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize(
    ("values", "kill"),
    [
        ({}, lambda patch: kill_at_epoch(patch, 1)),
        ({"dev_split": "dev"}, lambda patch: kill_at_epoch(patch, 2)),
        # Saved in the middle of an epoch, killed two steps later.
        ({"dev_split": "dev", "eval_steps": 2}, lambda patch: kill_after_steps(patch, 6)),
        ({"method": "full", "lr": 1e-2}, lambda patch: kill_at_epoch(patch, 1)),
        ({"kind": "cross-encoder", "dev_split": "dev"}, lambda patch: kill_at_epoch(patch, 2)),
        ({"kind": "cross-encoder", "dev_split": "dev", "head": "segments"}, lambda patch: kill_at_epoch(patch, 2)),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(
    values: dict[str, Any], kill: Callable[[pytest.MonkeyPatch], None], toy_options: Options, toy: Any
) -> None:
    # Dropout makes the weights depend on the state of the random number generator as well.
    values = {"dropout": 0.1, "epochs": 3.0, **values}
    whole = train_retriever(toy_options(name="whole", **values))
    with pytest.MonkeyPatch.context() as patch:
        kill(patch)
        with pytest.raises(Killed):
            train_retriever(toy_options(name="killed", **values))
    work = whole.output.with_name(".killed.training")
    assert last_checkpoint(work) is not None
    assert not whole.output.with_name("killed").exists()
    resumed = train_retriever(toy_options(name="killed", resume=True, **values))
    assert same(weights(whole.output), weights(resumed.output))
    assert whole.dev_scores == resumed.dev_scores
    assert not work.exists()
    histories = [read_json(result.output / "history.json") for result in (whole, resumed)]
    assert len(histories[0]) == len(histories[1])
    assert histories[0][:-1] == histories[1][:-1]  # the last entry holds seconds


def test_resuming_before_the_first_checkpoint(toy_options: Options) -> None:
    whole = train_retriever(toy_options(name="whole"))
    with pytest.MonkeyPatch.context() as patch:
        kill_after_steps(patch, 1)
        with pytest.raises(Killed):
            train_retriever(toy_options(name="killed"))
    resumed = train_retriever(toy_options(name="killed", resume=True))
    assert same(weights(whole.output), weights(resumed.output))


def test_resume_wants_the_same_options(toy_options: Options) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at_epoch(patch, 1)
        with pytest.raises(Killed):
            train_retriever(toy_options())
    with pytest.raises(UsageError, match=r"begun with another lr, seed; use the same to continue it"):
        train_retriever(toy_options(resume=True, lr=0.5, seed=9))
    with pytest.raises(UsageError, match="--resume continues it, --overwrite discards it"):
        train_retriever(toy_options(seed=9))
    # --overwrite starts anew, with any options.
    assert train_retriever(toy_options(seed=9, overwrite=True)).output.is_dir()


def test_resume_wants_the_same_data(toy_options: Options, tmp_path: Path) -> None:
    collection = shutil.copytree(toy_options().data.collection, tmp_path / "collection")
    options = changed(toy_options(), collection=str(collection))
    with pytest.MonkeyPatch.context() as patch:
        kill_at_epoch(patch, 1)
        with pytest.raises(Killed):
            train_retriever(options)
    corpus = collection / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("water", "wine"))
    with pytest.raises(UsageError, match="begun with another training data"):
        train_retriever(changed(options, resume=True))


def test_a_checkpoint_is_replaced_only_when_that_is_said(toy_options: Options) -> None:
    first = train_retriever(toy_options(max_steps=1))
    before = weights(first.output)
    with pytest.raises(IaaRetrievalError, match="is not empty"):
        train_retriever(toy_options(max_steps=1, seed=9))
    assert same(weights(first.output), before)
    second = train_retriever(toy_options(max_steps=1, seed=9, overwrite=True))
    assert not same(weights(second.output), before)


def test_a_second_run_on_the_same_output_leaves_the_first_alone(toy_options: Options) -> None:
    options = toy_options()
    work = Path(options.output).with_name(f".{Path(options.output).name}.training")
    with locked(work):
        for overwrite in (False, True):
            with pytest.raises(IaaRetrievalError, match=rf"is in use by process {os.getpid()} on "):
                train_retriever(toy_options(overwrite=overwrite))
        assert not any(work.rglob("*"))
    assert train_retriever(options).output.is_dir()


def test_interrupted_work_is_refused_before_anything_is_loaded(
    toy_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = toy_options()
    work = Path(options.output).with_name(f".{Path(options.output).name}.training")
    (work / "runs").mkdir(parents=True)
    monkeypatch.setattr("iaa_retrieval.training.run.new_tuned_model", lambda *_: pytest.fail("the backbone was loaded"))
    with pytest.raises(UsageError, match="holds interrupted work; --resume continues it, --overwrite discards it"):
        train_retriever(options)


def test_a_half_written_trainer_checkpoint_does_not_count(tmp_path: Path) -> None:
    for step, complete in ((3, True), (10, True), (20, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").touch()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert last_checkpoint(tmp_path / "nowhere") is None


@pytest.fixture
def scripted_dev(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Dev scores from a list; keeps the trained parameters at each scoring."""
    script: dict[str, Any] = {"scores": [], "states": []}

    def evaluator(kind: Any, model: torch.nn.Module, *others: Any) -> Callable[[], dict[str, float]]:
        def evaluate_dev() -> dict[str, float]:
            script["states"].append({name: tensor.clone() for name, tensor in trained_state(model).items()})
            score = script["scores"][len(script["states"]) - 1]
            return {"nDCG@10": score, "MRR@10": script.get("mrr", script["scores"])[len(script["states"]) - 1] / 2}

        return evaluate_dev

    monkeypatch.setattr(training_run, "make_dev_evaluator", evaluator)
    return script


def test_the_checkpoint_with_the_best_dev_score_is_kept(scripted_dev: dict[str, Any], toy_options: Options) -> None:
    scripted_dev["scores"] = [0.3, 0.6, 0.6, 0.1]
    result = train_retriever(toy_options(epochs=4.0, dev_split="dev"))
    assert result.dev_scores == {"nDCG@10": 0.6, "MRR@10": 0.3}
    saved = sorted(weights(result.output).values(), key=lambda tensor: (tensor.shape, tensor.sum().item()))
    states = [
        sorted(state.values(), key=lambda tensor: (tensor.shape, tensor.sum().item()))
        for state in scripted_dev["states"]
    ]
    equal = [all(map(torch.equal, saved, state)) for state in states]
    assert equal == [False, True, False, False]
    assert read_retriever_config(result.output).dev_scores == result.dev_scores  # type: ignore[union-attr]


def test_the_metric_that_chooses_the_checkpoint(scripted_dev: dict[str, Any], toy_options: Options) -> None:
    scripted_dev["scores"], scripted_dev["mrr"] = [0.3, 0.6, 0.1], [0.3, 0.1, 0.8]
    result = train_retriever(toy_options(epochs=3.0, dev_split="dev", dev_metric="MRR@10"))
    assert result.dev_scores == {"nDCG@10": 0.1, "MRR@10": 0.4}


def test_patience(scripted_dev: dict[str, Any], toy_options: Options) -> None:
    scripted_dev["scores"] = [0.5, 0.4, 0.3, 0.9, 0.9]
    result = train_retriever(toy_options(epochs=5.0, dev_split="dev", patience=2))
    assert len(scripted_dev["states"]) == 3
    assert result.dev_scores["nDCG@10"] == 0.5


def test_a_resumed_run_remembers_its_patience(scripted_dev: dict[str, Any], toy_options: Options) -> None:
    scripted_dev["scores"] = [0.5, 0.4, 0.3, 0.9, 0.9]
    options = {"epochs": 5.0, "dev_split": "dev", "patience": 2}
    with pytest.MonkeyPatch.context() as patch:
        kill_at_epoch(patch, 2)
        with pytest.raises(Killed):
            train_retriever(toy_options(**options))
    result = train_retriever(toy_options(resume=True, **options))
    assert len(scripted_dev["states"]) == 3
    assert result.dev_scores["nDCG@10"] == 0.5


def test_what_a_checkpoint_holds(toy_options: Options) -> None:
    result = train_retriever(toy_options(dev_split="dev", seed=5, epochs=4.0))
    config = read_retriever_config(result.output)
    assert config is not None
    assert config.training["seed"] == 5
    assert config.training["queries"] == 24
    assert config.training["negatives"] == "toy.trec"
    assert set(config.dev_scores) == {"nDCG@10", "MRR@10"}
    assert {"torch", "transformers", "peft", "python", "iaa-retrieval"} <= set(config.versions)
    card = (result.output / "README.md").read_text()
    for expected in (
        "| method | iaa-l |",
        f"{result.trainable_parameters['weights']:,} weights",
        f"| dev nDCG@10 | {result.dev_scores['nDCG@10']:.4f} |",
        "held-out queries over a sampled corpus",
    ):
        assert expected in card
    history = read_json(result.output / "history.json")
    assert sum("eval_nDCG@10" in entry for entry in history) == 4
    assert any("loss" in entry for entry in history)
    settings = yaml.safe_load((result.output / "train_config.yaml").read_text())
    assert (settings["method"], settings["lr"], settings["seed"]) == ("iaa-l", 1e-3, 5)


def test_a_card_without_dev_queries_claims_none(toy_options: Options) -> None:
    card = (train_retriever(toy_options("cross-encoder", max_steps=1)).output / "README.md").read_text()
    assert "dev" not in card.lower()
    assert "None" not in card


@pytest.mark.parametrize("method", ["iaa-l", "lora", "full"])
def test_loss_goes_down(method: str, toy_options: Options) -> None:
    result = train_retriever(toy_options(method=method, epochs=20.0, lr=1e-2 if method != "full" else 1e-3))
    losses = [entry["loss"] for entry in read_json(result.output / "history.json") if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("kind", "given"), [("cross-encoder", True), ("cross-encoder", False), ("bi-encoder", False)])
def test_distillation_from_a_run(kind: str, given: bool, toy: Any, toy_options: Options) -> None:
    """The first loss is that of the margins of the teacher; its run gives the negatives where no other is named."""
    distil = {"teacher": str(toy.run), "distillation": "margin-mse", "distillation_weight": 1.0}
    options = toy_options(kind, max_steps=1, epochs=1, negatives_per_query=2, teacher_temperature=0.01, **distil)
    result = train_retriever(options if given else changed(options, negatives=None))
    first = read_json(result.output / "history.json")[-1]["train_loss"]
    # The teacher's scores fall by one per rank, times a hundred by temperature; the student's are small beside them.
    # The squared distance of two of eight ranks is 12 on average, and there are 16 of them in a batch.
    assert 2e4 < first < 3e5
    config = read_retriever_config(result.output)
    assert config is not None
    assert config.training["negatives"] == "toy.trec"
    assert {key: config.training[key] for key in ("teacher", "distillation", "distillation_weight")} == {
        **distil,
        "teacher": "toy.trec",
    }
    assert config.training["teacher_temperature"] == 0.01


def test_a_teacher_of_other_queries(toy_options: Options, tmp_path: Path) -> None:
    (tmp_path / "other.trec").write_text("x Q0 d1 1 2.0 other\n")
    with pytest.raises(IaaRetrievalError, match="the teacher's run scores no query's positive"):
        train_retriever(toy_options("cross-encoder", teacher=str(tmp_path / "other.trec")))


@pytest.mark.parametrize("loss", ["pairwise", "pointwise"])
def test_other_losses_of_a_cross_encoder(loss: str, toy_options: Options) -> None:
    result = train_retriever(toy_options("cross-encoder", loss=loss, epochs=20.0, lr=1e-2))
    losses = [entry["loss"] for entry in read_json(result.output / "history.json") if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]
    config = read_retriever_config(result.output)
    assert config is not None and config.training["loss"] == loss


def test_tensorboard(toy_options: Options) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train_retriever(toy_options(max_steps=20, dev_split="dev", report_to="tensorboard"))
    (directory,) = (result.output / "tensorboard").iterdir()
    events = EventAccumulator(str(directory)).Reload()
    history = read_json(result.output / "history.json")
    losses = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [
        (step, pytest.approx(loss)) for step, loss in losses
    ]
    assert len(events.Scalars("eval/nDCG@10")) == len([entry for entry in history if "eval_nDCG@10" in entry])


def test_an_unknown_tracker(toy_options: Options) -> None:
    with pytest.raises(UsageError, match="--report-to chalkboard: chalkboard is not supported"):
        train_retriever(toy_options(report_to="chalkboard"))


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("iaa-l", "bi-encoder"),
        ("prefix", "bi-encoder"),
        ("full", "bi-encoder"),
        ("iaa-l", "cross-encoder"),
        ("bitfit", "cross-encoder"),
        ("lora", "cross-encoder"),
    ],
)
def test_bf16_on_a_cpu(method: str, kind: str, toy_options: Options) -> None:
    result = train_retriever(toy_options(kind, method=method, max_steps=10, dev_split="dev", precision="bf16"))
    losses = [entry["loss"] for entry in read_json(result.output / "history.json") if "loss" in entry]
    assert losses and all(0 < loss < 10 for loss in losses)
    assert all(torch.isfinite(tensor).all() for tensor in weights(result.output).values())
    # What is trained stays in fp32; only frozen weights may be stored in bf16.
    assert {tensor.dtype for name, tensor in weights(result.output).items() if "pooler.dense" not in name} == {
        torch.float32
    }
    load: Any = load_bi_encoder if kind == "bi-encoder" else load_cross_encoder
    load(str(result.output), precision="fp32", device="cpu")


def test_held_out_queries_and_a_sample_of_the_training_queries(toy_options: Options) -> None:
    result = train_retriever(toy_options(dev_fraction=0.25, train_queries=10, max_steps=1))
    config = read_retriever_config(result.output)
    assert config is not None and config.training["queries"] == 10
    assert config.dev_scores


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"method": "full", "budget": "0.5%"}, UsageError, "method full trains 100%"),
        ({"method": "lora", "ar": 3}, UsageError, "method lora has no dimension ar"),
        ({"train_max_length": 2}, UsageError, "--train-max-length 2 is outside"),
        ({"document_max_length": 0}, UsageError, "--document-max-length 0 is outside"),
        ({"query_max_length": 131}, UsageError, "--query-max-length 131 is outside what .* takes: 3 to 130"),
        ({"split": "dev", "dev_split": "dev"}, UsageError, r"dev split dev shares 8 queries .* \(e.g. q24\)"),
        ({"precision": "fp16"}, UsageError, "fp16 needs a GPU"),
    ],
)
def test_what_cannot_be_trained(
    values: dict[str, Any], error: type[IaaRetrievalError], message: str, toy_options: Options
) -> None:
    options = toy_options(**values)
    with pytest.raises(error, match=message):
        train_retriever(options)
    assert not Path(options.output).exists()


def test_a_run_of_other_queries(toy_options: Options, tmp_path: Path) -> None:
    from iaa_retrieval.options import changed

    other = tmp_path / "other.trec"
    other.write_text("x1 Q0 d1 1 1.0 t\n")
    with pytest.raises(IaaRetrievalError, match="gives no negative for any training query"):
        train_retriever(changed(toy_options(), negatives=str(other)))
    with pytest.raises(IaaRetrievalError, match="has none of the dev queries"):
        train_retriever(changed(toy_options("cross-encoder", dev_split="dev"), dev_run=str(other)))


def test_one_process_never_spreads_a_batch_over_devices(toy_options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnTwoDevices(TrainingArguments):  # type: ignore[misc]
        def __post_init__(self) -> None:
            super().__post_init__()
            assert self.device.type == "cpu"  # found out now, which also counts the devices
            self._n_gpu = 2

    seen: list[int] = []
    train = RetrievalTrainer.train

    def watched(self: RetrievalTrainer, *args: Any, **kwargs: Any) -> Any:
        seen.append(self.args.n_gpu)
        return train(self, *args, **kwargs)

    monkeypatch.setattr(loop, "TrainingArguments", OnTwoDevices)
    monkeypatch.setattr(RetrievalTrainer, "train", watched)
    result = train_retriever(toy_options(max_steps=1))
    assert seen == [1]
    assert read_retriever_config(result.output).training["batch_size"] == 8  # type: ignore[union-attr]


def test_history_is_json_without_nan(toy_options: Options) -> None:
    result = train_retriever(toy_options(max_steps=1))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((result.output / "history.json").read_text(), parse_constant=refuse)

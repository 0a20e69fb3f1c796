"""Cross-encoders with each head: every method, saved and loaded, exported, on a shared backbone, and one's own head."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import DOCUMENTS, QUERIES, TEXTS, contents, write_collection, write_first_stage
from click.testing import CliRunner
from moved_checkpoints import write_moved
from safetensors.torch import load_file
from scipy.stats import kendalltau
from torch import nn

from iaa_retrieval.collections.runs import write_run
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import CrossEncoder, load_cross_encoder
from iaa_retrieval.models.heads.registry import HEADS, get_head, head_names, register_head
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.train import main
from iaa_retrieval.training import run
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.tuning.apply import count_trainable, head_modules
from iaa_retrieval.tuning.methods import get_method

METHODS = ("full", "bitfit", "prefix", "adapter", "mam", "lora", "iaa-s", "iaa-l", "iaa-m")
SIZES = {"r": 4, "ar": 3, "prefix_length": 5}
HIDDEN, LAYERS = 32, 3
TRAINED_BY_HEAD = {"mean": HIDDEN + 1, "segments": 2}
PAIRS = [("water in the world", text) for text in TEXTS]

Train = Callable[..., tuple[Path, Any]]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Callable[[str], Path]) -> Train:
    """Two steps at a high rate: the checkpoint's directory and the model that it was written from."""
    root = tmp_path_factory.mktemp("heads")
    collection, negatives = write_collection(root / "collection"), write_first_stage(root / "run.trec")
    made: dict[tuple[Any, ...], tuple[Path, Any]] = {}

    def make(method: str, head: str | None, backbone: str | Path = "bert", **values: Any) -> tuple[Path, Any]:
        key = (method, head, str(backbone), *values.items())
        if key not in made:
            place = tiny_backbone(backbone) if isinstance(backbone, str) else backbone
            kept: list[Any] = []
            write = run.write_checkpoint
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    run, "write_checkpoint", lambda out, model, *rest: [kept.append(model), write(out, model, *rest)]
                )
                sizes = {name: SIZES[name] for name in get_method(method).dimension_names}
                settings = {
                    "precision": "fp32",
                    "max_steps": 2,
                    "warmup": 0.0,
                    "lr": 0.05,
                    "batch_size": 2,
                    **sizes,
                    **values,
                }
                result = run.train_retriever(
                    TrainOptions.of(
                        kind="cross-encoder",
                        collection=str(collection),
                        output=str(root / f"checkpoint-{len(made)}"),
                        backbone=str(place),
                        method=method,
                        head=head,
                        negatives=str(negatives),
                        device="cpu",
                        document_max_length=64,
                        query_max_length=32,
                        **settings,
                    )
                )
            made[key] = (result.output, kept[0].eval())
        return made[key]

    return make


# Every method once; the rest of the matrix is below, without training.
TRAINED = [(m, ("mean", "segments")[n % 2], ("bert", "distilbert")[n // 2 % 2]) for n, m in enumerate(METHODS)]


@pytest.mark.parametrize(("method", "head", "model_type"), TRAINED)
def test_every_method_is_trained_and_comes_back(method: str, head: str, model_type: str, train: Train) -> None:
    path, model = train(method, head, model_type)
    loaded = load_cross_encoder(str(path), precision="fp32", device="cpu")
    scores = score_pairs(loaded, PAIRS)
    np.testing.assert_allclose(scores, score_pairs(model, PAIRS), atol=1e-5)
    assert len(set(scores.round(4))) > 1
    config = loaded.config
    counts = config.trainable_parameters
    assert config.head == head and counts["heads"] == TRAINED_BY_HEAD[head]
    saved = load_file(path / ("model.safetensors" if method == "full" else "adapter_model.safetensors"))
    numbers = {name: tensor.numel() for name, tensor in saved.items() if not name.endswith("separator")}
    assert sum(n for name, n in numbers.items() if "relevance_head" in name) == TRAINED_BY_HEAD[head]
    if method == "full":
        unused = sum(n for name, n in numbers.items() if ".pooler." in name)
        assert sum(numbers.values()) == sum(counts.values()) + unused
        return
    assert not any("pooler" in name for name in numbers) and sum(numbers.values()) == sum(counts.values())
    if method != "bitfit":
        assert counts["weights"] == get_method(method).weight_count(HIDDEN, LAYERS, config.dimensions)
    # Without the adapter and the trained head, there is the backbone under a fresh head.
    bare = load_bi_encoder(config.backbone, precision="fp32", device="cpu").encoder
    inputs = {"input_ids": torch.tensor([[2, 9, 3, 8, 30, 3]])}
    with loaded.classifier.disable_adapter(), torch.no_grad():
        assert torch.equal(loaded.backbone(**inputs)[0], bare(**inputs)[0])


@pytest.mark.parametrize(
    ("method", "head", "model_type"),
    [(m, h, b) for m in METHODS for h in TRAINED_BY_HEAD for b in ("bert", "distilbert") if (m, h, b) not in TRAINED],
)
def test_every_method_under_every_head_comes_back(
    method: str, head: str, model_type: str, tiny_backbone: Callable[[str], Path], tmp_path: Path
) -> None:
    """Moved away from where it starts, saved and loaded, without the training in between."""
    backbone = tiny_backbone(model_type)
    bare = new_cross_encoder(str(backbone), head)
    assert head_modules(bare.network) == ["relevance_head"]
    model = write_moved("cross-encoder", method, backbone, tmp_path, head=head)
    counts = model.config.trainable_parameters
    assert counts["heads"] == TRAINED_BY_HEAD[head] and counts == count_trainable(model.network, method)
    loaded = score_pairs(load_cross_encoder(str(tmp_path), precision="fp32", device="cpu"), PAIRS[:3])
    np.testing.assert_allclose(loaded, score_pairs(model, PAIRS[:3]), atol=1e-5)
    assert np.abs(loaded - score_pairs(bare, PAIRS[:3])).max() > 1e-3


@pytest.mark.parametrize(("method", "model_type"), [("iaa-m", "bert"), ("iaa-m", "distilbert"), ("full", "bert")])
def test_the_head_reads_what_the_method_made_of_the_last_states(method: str, model_type: str, train: Train) -> None:
    path, _ = train(method, "mean", model_type)
    loaded = load_cross_encoder(str(path), precision="fp32", device="cpu")
    saved = load_file(path / ("model.safetensors" if method == "full" else "adapter_model.safetensors"))
    weight, bias = (
        next(tensor for name, tensor in saved.items() if name.endswith(f"relevance_head.linear.{part}")).numpy()
        for part in ("weight", "bias")
    )
    ids = torch.tensor([[2, 9, 3, 8, 30, 3], [2, 11, 3, 7, 3, 0]])
    mask = (ids != 0).long()
    with torch.no_grad():
        states = loaded.backbone(input_ids=ids, attention_mask=mask)[0].numpy()
        scores = loaded(input_ids=ids, attention_mask=mask).numpy()
    for row, length, score in zip(states, (6, 5), scores, strict=True):
        assert score == pytest.approx(float(row[:length].mean(axis=0) @ weight[0] + bias[0]), abs=1e-5)


def test_the_head_is_said_in_the_record_and_in_the_card(train: Train) -> None:
    path, _ = train("iaa-l", "segments")
    card = (path / "README.md").read_text()
    assert json.loads((path / "retriever.json").read_text())["head"] == "segments"
    assert "| head | segments |" in card and "has no head `segments`" in card and "PeftModel" not in card
    assert "head: segments" in (path / "train_config.yaml").read_text()
    plain, _ = train("iaa-l", None)
    assert json.loads((plain / "retriever.json").read_text())["head"] == "pooler"
    assert "| head |" not in (plain / "README.md").read_text()


def test_another_head_is_another_model(train: Train, tmp_path: Path) -> None:
    path, _ = train("iaa-l", "mean")
    config = CrossEncoder.read_config(str(path))
    assert CrossEncoder.fingerprint_settings(config) == ("mean",)
    told = json.loads((path / "retriever.json").read_text())
    for file in path.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "retriever.json").write_text(json.dumps({**told, "head": "segments"}))
    with pytest.raises(IaaRetrievalError, match="its weights are not those that"):
        load_cross_encoder(str(tmp_path))
    (tmp_path / "retriever.json").write_text(json.dumps({**told, "head": "nose"}))
    with pytest.raises(UsageError, match="unknown head 'nose'; one of pooler, mean, segments"):
        load_cross_encoder(str(tmp_path))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_frozen_backbone_in_bf16_and_caching_train_too(precision: str, train: Train) -> None:
    path, model = train("iaa-m", "segments", precision=precision, grad_cache=2)
    loaded = load_cross_encoder(str(path), precision="fp32", device="cpu")
    assert loaded.config.training["precision"] == precision
    if precision == "fp32":
        np.testing.assert_allclose(score_pairs(loaded, PAIRS), score_pairs(model, PAIRS), atol=1e-5)
    assert np.isfinite(score_pairs(loaded, PAIRS)).all()


def test_a_whole_network_hands_on_its_head(train: Train, caplog: pytest.LogCaptureFixture) -> None:
    path, _ = train("full", "mean")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        scores = score_pairs(load_cross_encoder(str(path), precision="fp32", device="cpu"), PAIRS)
    assert caplog.text == ""  # transformers reads the encoder alone, and need not tell of the head that it leaves
    for head in (None, "mean"):
        again = new_cross_encoder(str(path), head)
        assert again.config.head == "mean"
        np.testing.assert_allclose(score_pairs(again.eval(), PAIRS), scores, atol=1e-5)
    assert new_cross_encoder(str(path), "segments").config.head == "segments"
    assert hasattr(new_cross_encoder(str(path), "pooler").classifier, "classifier")
    tuned, _ = train("lora", None, path)
    assert read_retriever_config(tuned).head == "mean"  # type: ignore[union-attr]
    load_cross_encoder(str(tuned))
    assert load_bi_encoder(str(path), as_backbone=True).encoder.config.model_type == "bert"


def test_adapters_with_several_heads_share_a_backbone(train: Train, tiny_backbone: Callable[[str], Path]) -> None:
    server = AdapterServer(str(tiny_backbone("bert")), precision="fp32", device="cpu")
    checkpoints = {head: train("iaa-l", head)[0] for head in ("pooler", "mean", "segments")}
    for head, path in checkpoints.items():
        server.load(head, str(path))
    for head, path in checkpoints.items():
        alone = score_pairs(load_cross_encoder(str(path), precision="fp32", device="cpu"), PAIRS)
        np.testing.assert_allclose(server.score_pairs(head, PAIRS), alone, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "method", "head", "model_type"),
    [
        ("merged", "lora", "mean", "bert"),
        ("merged", "full", "segments", "distilbert"),
        ("self-contained", "iaa-l", "segments", "bert"),
        ("self-contained", "full", "mean", "bert"),
    ],
)
def test_exports_that_we_read_carry_the_head(
    form: str, method: str, head: str, model_type: str, train: Train, tmp_path: Path
) -> None:
    path, model = train(method, head, model_type)
    export(ExportOptions(str(path), form, str(tmp_path / "exported")))
    loaded = load_cross_encoder(str(tmp_path / "exported"), precision="fp32", device="cpu")
    np.testing.assert_allclose(score_pairs(loaded, PAIRS), score_pairs(model, PAIRS), atol=1e-5)
    readme = (tmp_path / "exported" / "README.md").read_text()
    assert f"| head | {head} |" in readme and "from_pretrained" not in readme


@pytest.mark.parametrize("case", [("lora", "segments", "bert"), ("iaa-m", "mean", "distilbert")])
def test_onnx_computes_the_head(case: tuple[str, str, str], train: Train, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="exporting to ONNX needs the package onnx")
    import onnxruntime
    from transformers import AutoTokenizer

    path, model = train(*case)
    export(ExportOptions(str(path), "onnx", str(tmp_path / "exported")))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    session = onnxruntime.InferenceSession(str(tmp_path / "exported" / "model.onnx"))
    queries, passages = zip(*PAIRS, strict=True)
    inputs = tokenizer(list(queries), list(passages), padding=True, truncation=True, return_tensors="np")
    np.testing.assert_allclose(session.run(None, dict(inputs))[0], score_pairs(model, PAIRS), atol=1e-5)


def test_sentence_transformers_has_no_place_for_it(train: Train, tmp_path: Path) -> None:
    path, _ = train("lora", "segments")
    with pytest.raises(UsageError, match="has the head segments, and sentence-transformers' CrossEncoder only takes"):
        export(ExportOptions(str(path), "sentence-transformers", str(tmp_path / "exported")))
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(("head", "distillation"), [("pooler", "ranknet"), ("mean", "kl"), ("segments", "listmle")])
def test_every_head_learns_from_a_bi_encoder(
    head: str, distillation: str, train: Train, tiny_backbone: Callable[[str], Path], tmp_path: Path
) -> None:
    """With nothing but the teacher's scores as the loss, the student comes to the order of the teacher."""
    teacher = write_moved("bi-encoder", "iaa-l", tiny_backbone("bert"), tmp_path / "teacher")
    documents = {doc_id: contents(doc_id) for doc_id in DOCUMENTS}
    vectors = dict(zip(documents, encode_passages(teacher, list(documents.values())), strict=True))
    queries = dict(zip(QUERIES, encode_queries(teacher, list(QUERIES.values())), strict=True))
    scores = {q: {d: float(queries[q] @ vectors[d]) for d in documents} for q in queries}
    write_run(tmp_path / "teacher.trec", scores, "teacher")
    path, _ = train(
        "full",
        head,
        teacher=str(tmp_path / "teacher.trec"),
        distillation=distillation,
        distillation_weight=1.0,
        teacher_temperature=0.05,
        negatives_per_query=7,
        lr=5e-3,
        max_steps=50,
        batch_size=3,
        dropout=0.0,
    )
    student = load_cross_encoder(str(path), precision="fp32", device="cpu")
    untrained = new_cross_encoder(str(tiny_backbone("bert")), head).eval()
    assert student.config.training["distillation"] == distillation

    def agreement(model: Any) -> float:
        correlations = []
        for query, text in QUERIES.items():
            found = score_pairs(model, [(text, document) for document in documents.values()])
            correlations.append(kendalltau(found, list(scores[query].values())).statistic)
        return float(np.mean(correlations))

    assert agreement(student) > agreement(untrained) + 0.3


class Highest(nn.Module):
    """The highest of a linear layer's outputs over the real tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, hidden: Any, input_ids: Any, attention_mask: Any, segments: Any) -> torch.Tensor:
        scores = self.linear(hidden).squeeze(-1).float()
        return scores.masked_fill(attention_mask == 0, -1e9).amax(dim=1)


def test_a_head_of_ones_own(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    head_names()  # the entry points have been searched before the copy is made
    monkeypatch.setattr(HEADS, "_entries", dict(HEADS._entries))
    register_head("highest", "the highest token's score", lambda width, separator: Highest(width))
    path, model = train("iaa-l", "highest")
    loaded = load_cross_encoder(str(path), precision="fp32", device="cpu")
    assert loaded.config.head == "highest" and loaded.config.trainable_parameters["heads"] == HIDDEN + 1
    np.testing.assert_allclose(score_pairs(loaded, PAIRS), score_pairs(model, PAIRS), atol=1e-5)
    with pytest.raises(ValueError, match="head 'mean' is registered already"):
        register_head("mean", "", lambda width, separator: Highest(width))


def test_what_the_command_line_says() -> None:
    shown = CliRunner().invoke(main, ["cross-encoder", "--help"]).output
    assert "--head [pooler|mean|segments|last|yes-no]" in " ".join(shown.split())
    assert "--head" not in CliRunner().invoke(main, ["bi-encoder", "--help"]).output
    wrong = CliRunner().invoke(main, ["cross-encoder", "--collection", "x", "--output", "y", "--head", "nose"])
    assert wrong.exit_code == 2 and "nose" in wrong.output
    assert all(get_head(name).help for name in head_names())

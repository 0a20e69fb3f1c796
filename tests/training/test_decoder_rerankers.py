"""Re-rankers on decoders: trained with each head, loaded, tuned further, served, exported, and re-ranking."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import DOCUMENTS, QUERIES, contents, write_collection, write_first_stage
from click.testing import CliRunner
from reranker_models import write_decoder
from transformers import AutoModelForCausalLM

from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.java import prepare_java
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.models.pair_template import PairSettings
from iaa_retrieval.rerank import main as rerank
from iaa_retrieval.training import run
from iaa_retrieval.training.options import TrainOptions

pytestmark = pytest.mark.usefixtures("same_environment")
LORA = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "v_proj"]}
PAIRS = [(query, contents(doc_id)) for query in QUERIES.values() for doc_id in DOCUMENTS]
TEMPLATE = "Find {instruction}: {query} in {document} ?"
# Each method, head and kind of loss: on lists, on single pairs, and the default.
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3-yes-no-lora": ("qwen3", {"head": "yes-no", "peft_config": LORA, "loss": "lambda"}),
    "llama-last-full": ("llama", {"method": "full", "loss": "pointwise"}),
    "gemma3-yes-no-full": (
        "gemma3_text",
        {"head": "yes-no", "method": "full", "pair_template": TEMPLATE, "pair_instruction": "water"},
    ),
}


class World:
    """A toy collection, decoders and runs on them; each is made once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.collection, self.run = write_collection(root / "collection"), write_first_stage(root / "run.trec")
        self.made: dict[str, tuple[Path, Any]] = {}

    def backbone(self, family: str) -> Path:
        path = self.root / family
        return path if path.exists() else write_decoder(path, family)

    def trained(self, name: str) -> tuple[Path, Any]:
        if name not in self.made:
            family, values = RUNS[name]
            self.made[name] = self.train(name, self.backbone(family), **values)
        return self.made[name]

    def train(self, name: str, backbone: Path, **values: Any) -> tuple[Path, Any]:
        kept: list[Any] = []
        write = run.write_checkpoint
        settings = {"max_steps": 2, "warmup": 0.0, "lr": 0.02, "batch_size": 2, "document_max_length": 320, **values}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                run, "write_checkpoint", lambda to, model, *rest: [kept.append(model), write(to, model, *rest)]
            )
            result = run.train_retriever(
                TrainOptions.of(
                    kind="cross-encoder",
                    collection=str(self.collection),
                    negatives=str(self.run),
                    output=str(self.root / f"checkpoint-{name}"),
                    backbone=str(backbone),
                    precision="fp32",
                    device="cpu",
                    **settings,
                )
            )
        return result.output, kept[0].eval()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("decoder-rerankers"))


def load(path: Path) -> Any:
    return load_cross_encoder(str(path), precision="fp32", device="cpu")


@pytest.mark.parametrize("name", RUNS)
def test_what_is_trained_comes_back(name: str, world: World) -> None:
    path, model = world.trained(name)
    loaded = load(path)
    scores = score_pairs(loaded, PAIRS)
    np.testing.assert_allclose(scores, score_pairs(model, PAIRS), atol=1e-5)
    assert np.ptp(scores) > 0.01
    for field in ("head", "pair_template", "pair_instruction", "pair_tokens", "document_max_length"):
        assert getattr(loaded.config, field) == getattr(model.config, field)
    answers = "yes-no" in name
    assert loaded.config.trainable_parameters["heads"] == (64 if answers else 32)
    recorded = json.loads((path / "retriever.json").read_text())
    assert recorded.get("pair_tokens") == (["yes", "no"] if answers else None)
    assert ("| answers | `yes` / `no` |" in (path / "README.md").read_text()) == answers
    # The head moved away from where it started, which is the language model's own rows or a fresh layer.
    backbone = world.backbone(RUNS[name][0])
    fresh = new_cross_encoder(str(backbone), loaded.config.head, PairSettings(template=loaded.config.pair_template))
    before = fresh.classifier.relevance_head.state_dict()
    head = loaded.network.relevance_head
    after = getattr(head, "modules_to_save", {"default": head})["default"].state_dict()
    assert all(not torch.equal(before[key], after[key]) for key in before)
    if answers:
        model_head = AutoModelForCausalLM.from_pretrained(backbone).get_output_embeddings().weight
        ids = loaded.tokenizer.convert_tokens_to_ids(["yes", "no"])
        assert torch.equal(before["rows"], model_head[ids].detach())


def test_a_template_of_ones_own_is_recorded_and_inherited(world: World) -> None:
    path, model = world.trained("gemma3-yes-no-full")
    assert model.config.pair_template == TEMPLATE and model.config.pair_instruction == "water"
    # A whole network is a backbone, with its head, template and words.
    further = new_cross_encoder(str(path)).eval()
    assert further.config.head == "yes-no" and further.config.pair_template == TEMPLATE
    assert further.classifier.relevance_head.soft_cap == 0.7
    np.testing.assert_allclose(score_pairs(further, PAIRS), score_pairs(model, PAIRS), atol=1e-5)
    with pytest.raises(UsageError, match=r"--pair-tokens cannot change: .* answers yes or no"):
        new_cross_encoder(str(path), pair=PairSettings(tokens=("the", "no")))
    with pytest.raises(UsageError, match="says itself how pairs are scored; leave --head"):
        load_cross_encoder(str(path), pair=PairSettings("yes-no"))


def test_another_run_starts_where_one_ended(world: World) -> None:
    path, _ = world.trained("qwen3-yes-no-lora")
    backbone = world.backbone("qwen3")
    options = {"peft_config": LORA, "start_from": str(path), "lr": 1e-12, "max_steps": 1}
    _, model = world.train("further", backbone, **options)
    np.testing.assert_allclose(score_pairs(model, PAIRS), score_pairs(load(path), PAIRS), atol=1e-4)
    with pytest.raises(UsageError, match="answers yes or no, and this run's answers are others"):
        world.train("other", backbone, **options, pair_tokens=("the", "no"))


def test_heads_share_a_decoder_in_a_server(world: World) -> None:
    answering, _ = world.trained("qwen3-yes-no-lora")
    last, _ = world.train("qwen3-last-lora", world.backbone("qwen3"), peft_config=LORA)
    server = AdapterServer(str(world.backbone("qwen3")), precision="fp32", device="cpu")
    for name, path in (("answering", answering), ("last", last)):
        server.load(name, path)
        np.testing.assert_allclose(server.score_pairs(name, PAIRS), score_pairs(load(path), PAIRS), atol=1e-5)


@pytest.mark.parametrize("form", ["merged", "self-contained", "onnx"])
def test_exports_carry_the_head_and_the_template(form: str, world: World, tmp_path: Path) -> None:
    path, _ = world.trained("qwen3-yes-no-lora")
    export(ExportOptions(checkpoint=str(path), format=form, output=str(tmp_path / "out")))  # compares the scores
    assert json.loads((tmp_path / "out" / "retriever.json").read_text())["pair_tokens"] == ["yes", "no"]
    if form != "onnx":
        moved = tmp_path / "elsewhere"
        shutil.move(tmp_path / "out", moved)
        np.testing.assert_allclose(score_pairs(load(moved), PAIRS), score_pairs(load(path), PAIRS), atol=1e-4)


def reranked(world: World, encoder: Path, output: Path, *words: str) -> dict[str, dict[str, float]]:
    common = ["--run", world.run, "--topics", world.collection, "--collection", world.collection]
    arguments = [*common, "--encoder", encoder, "--output", output, "--precision", "fp32", *words]
    result = CliRunner().invoke(rerank, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    return read_run(output)


def test_the_verb_and_pyserinis_reranker(world: World, tmp_path: Path) -> None:
    prepare_java()
    from iaa_retrieval.pyserini_plugin.rerankers import Hit, IaaReranker

    tuned, _ = world.trained("qwen3-yes-no-lora")
    backbone = world.backbone("qwen3")
    pair = PairSettings("yes-no", "{query} {document} ", tokens=("the", "no"))
    words = ("--head", "yes-no", "--pair-template", "{query} {document} ", "--pair-tokens", "the", "no")
    asked = {"head": "yes-no", "pair_template": "{query} {document} ", "pair_tokens": ("the", "no")}
    untuned = load_cross_encoder(str(backbone), pair=pair, precision="fp32")
    cases: list[tuple[Path, Any, tuple[str, ...], dict[str, Any]]] = [
        (tuned, load(tuned), (), {}),
        (backbone, untuned, words, asked),
    ]
    for encoder, model, flags, arguments in cases:
        run_of = reranked(world, encoder, tmp_path / "out.trec", *flags)
        hits = [Hit(doc_id, 1.0) for doc_id in DOCUMENTS]
        reranker = IaaReranker(str(encoder), precision="fp32", text_of=contents, **arguments)
        for query_id, query in QUERIES.items():
            scores = score_pairs(model, [(query, contents(doc_id)) for doc_id in DOCUMENTS]).tolist()
            expected = dict(zip(DOCUMENTS, scores, strict=True))
            assert run_of[query_id] == pytest.approx(expected, abs=1e-5)
            assert {hit.docid: hit.score for hit in reranker.rerank(query, hits)} == pytest.approx(expected, abs=1e-5)
    result = CliRunner().invoke(rerank, ["--help"])
    assert "--pair-template NAME|TEXT" in result.output

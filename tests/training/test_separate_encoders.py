"""``train bi-encoder --separate-encoders``: two adapters, from training to search, held against PEFT alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from click.testing import CliRunner
from interruptions import Killed, kill_after_steps
from peft import PeftModel
from safetensors.torch import load_file
from toy_collection import CONTENT_WORDS
from transformers import AutoModel

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.encode import main as encode
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.reranking import rerank_run
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.java import find_java
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.search import main as search
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.training.tuned_model import new_tuned_model
from iaa_retrieval.tuning.methods import get_method, method_names

Options = Callable[..., TrainOptions]
pytestmark = pytest.mark.usefixtures("same_environment")
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
METHODS = tuple(name for name in method_names() if name != "full")
BI_ENCODER = TRAINING_KINDS["bi-encoder"]
SIZES = {"r": 4, "ar": 3, "prefix_length": 5}
TEXTS = ["the boy read a good book", "land and water made the world", "hot word time", "mother"]
ROLES = ("query", "passage")


def adapters(directory: Path) -> list[dict[str, torch.Tensor]]:
    return [load_file(directory / role / "adapter_model.safetensors") for role in ROLES]


def same(left: Path, right: Path) -> bool:
    pairs = zip(adapters(left), adapters(right), strict=True)
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs)


def vectors_by_peft(directory: Path, role: str, texts: list[str]) -> np.ndarray:
    """With PEFT and transformers alone: each text by itself, mean of its token vectors, unit length."""
    config = read_json(directory / "retriever.json")
    tokenizer = load_bi_encoder(str(directory)).tokenizer
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(config["backbone"]), directory / role).eval()
    vectors = []
    with torch.no_grad():
        for text in texts:
            hidden = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state
            vectors.append(torch.nn.functional.normalize(hidden[0].mean(0), dim=0).numpy())
    return np.stack(vectors)


@pytest.fixture(scope="module")
def checkpoint(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained at a high rate, so that both adapters are far from where they started, and from each other."""
    options = TrainOptions.of(
        kind="bi-encoder",
        collection=str(toy.collection),
        split="train",
        dev_split="dev",
        output=str(tmp_path_factory.mktemp("separate") / "checkpoint"),
        backbone=str(toy.backbone),
        negatives=str(toy.run),
        separate_encoders=True,
        max_steps=6,
        warmup=0.0,
        lr=0.05,
        batch_size=8,
        precision="fp32",
        device="cpu",
    )
    return train_retriever(options).output


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_both_adapters(method: str, toy_options: Options) -> None:
    sizes = {name: SIZES[name] for name in get_method(method).dimension_names}
    options = toy_options(method=method, separate_encoders=True, max_steps=2, lr=1e-2, warmup=0.0, **sizes)
    fresh = new_tuned_model(BI_ENCODER, options.tuning, options.text, "cpu", "fp32").model
    starts = [dict(network.named_parameters()) for network in fresh.networks]
    assert len(starts) == 2
    drawn = [name for name, p in starts[0].items() if p.requires_grad and p.std() > 0]
    assert bool(drawn) == (method != "bitfit")  # a fresh BitFit is zero
    assert not any(torch.equal(starts[0][name], starts[1][name]) for name in drawn)

    result = train_retriever(options)
    queries, passages = adapters(result.output)
    assert queries.keys() == passages.keys()
    assert sum(tensor.numel() for part in (queries, passages) for tensor in part.values()) == sum(
        result.trainable_parameters.values()
    )
    if method != "bitfit":
        assert result.trainable_parameters["weights"] == 2 * get_method(method).weight_count(32, 3, sizes)
    for part in (queries, passages):
        assert sum(tensor.abs().max() > 0 for tensor in part.values()) > len(part) / 2
    loaded = load_bi_encoder(str(result.output), precision="fp32", device="cpu")
    for role, encode_texts in zip(ROLES, (encode_queries, encode_passages), strict=True):
        np.testing.assert_allclose(encode_texts(loaded, TEXTS), vectors_by_peft(result.output, role, TEXTS), atol=1e-6)


def test_what_the_checkpoint_holds(checkpoint: Path) -> None:
    config = read_retriever_config(checkpoint)
    assert config is not None and config.separate_encoders
    assert set(config.dev_scores) == {"nDCG@10", "MRR@10"}
    for role in ROLES:
        assert {path.name for path in (checkpoint / role).iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
        }
    files = {path.name for path in checkpoint.iterdir()}
    assert {"query", "passage", "retriever.json", "README.md", "tokenizer.json", "train_config.yaml"} <= files
    assert not {"adapter_model.safetensors", "model.safetensors", "adapter_config.json"} & files
    card = (checkpoint / "README.md").read_text()
    for role in ROLES:
        assert f'PeftModel.from_pretrained(AutoModel.from_pretrained("BACKBONE"), "CHECKPOINT/{role}")' in card
    assert f"{config.trainable_parameters['weights']:,} weights" in card
    assert "| adapters | one for queries (`query/`), one for passages (`passage/`) |" in card
    queries, passages = adapters(checkpoint)
    assert not any(torch.equal(queries[name], passages[name]) for name in queries)


def test_queries_and_passages_are_encoded_by_their_own_adapter(checkpoint: Path) -> None:
    encoder = load_bi_encoder(str(checkpoint), precision="fp32", device="cpu")
    queries, passages = encode_queries(encoder, TEXTS), encode_passages(encoder, TEXTS)
    np.testing.assert_allclose(queries, vectors_by_peft(checkpoint, "query", TEXTS), atol=1e-6)
    np.testing.assert_allclose(passages, vectors_by_peft(checkpoint, "passage", TEXTS), atol=1e-6)
    assert np.abs(queries - passages).max() > 0.05


def test_the_dev_score_is_that_of_both_adapters(checkpoint: Path, toy: Any) -> None:
    """All 40 documents are in the dev corpus, so the best dev score can be had again from the checkpoint."""
    collection = load_collection(str(toy.collection), "dev")
    config = read_retriever_config(checkpoint)
    assert config is not None
    documents = list(collection.documents())
    queries = {query.query_id: query.text for query in collection.queries() if query.query_id in collection.qrels()}
    scores = (
        vectors_by_peft(checkpoint, "query", list(queries.values()))
        @ vectors_by_peft(checkpoint, "passage", [document.contents for document in documents]).T
    )
    reciprocal = []
    for query_id, row in zip(queries, scores, strict=True):
        ranking = [documents[i].doc_id for i in np.argsort(-row)]
        rank = 1 + min(ranking.index(doc_id) for doc_id in collection.qrels()[query_id])
        reciprocal.append(1 / rank if rank <= 10 else 0.0)
    assert config.dev_scores["MRR@10"] == pytest.approx(np.mean(reciprocal), abs=1e-4)


def test_from_training_to_search(checkpoint: Path, toy: Any, tmp_path: Path) -> None:
    index, queries, run = tmp_path / "index", tmp_path / "queries", tmp_path / "run.trec"
    fp32 = ["--precision", "fp32", "--device", "cpu"]

    def call(command: Any, *words: object) -> None:
        result = CliRunner().invoke(command, [str(word) for word in words])
        assert result.exit_code == 0, result.output

    call(
        encode, "input", "--corpus", toy.collection, "output", "--embeddings", index, "--to-faiss",
        "encoder", "--encoder", checkpoint, *fp32,
    )  # fmt: skip
    call(encode, "queries", "--topics", f"{toy.collection}:test", "--encoder", checkpoint, "--output", queries, *fp32)
    import faiss

    collection = load_collection(str(toy.collection), "test")
    texts = {document.doc_id: document.contents for document in collection.documents()}
    doc_ids = (index / "docid").read_text().splitlines()
    passages = vectors_by_peft(checkpoint, "passage", [texts[doc_id] for doc_id in doc_ids])
    stored = faiss.read_index(str(index / "index"))
    np.testing.assert_allclose(stored.reconstruct_n(0, stored.ntotal), passages, atol=1e-6)
    frame = pandas.read_pickle(queries / "embedding.pkl")
    expected = vectors_by_peft(checkpoint, "query", list(frame["text"]))
    np.testing.assert_allclose(np.stack(frame["embedding"]), expected, atol=1e-6)
    config = read_retriever_config(checkpoint)
    assert read_retriever_config(index) == config

    if find_java() is None:
        pytest.skip("no Java 21 or newer on this machine; all but the search was tested")
    call(
        search, "faiss", "--index", index, "--encoder", checkpoint, "--topics", f"{toy.collection}:test",
        "--hits", "40", "--output", run,
    )  # fmt: skip
    found = read_run(run)
    assert list(found) == [str(query_id) for query_id in frame["id"]]
    for query_id, vector in zip(frame["id"], expected, strict=True):
        wanted = dict(zip(doc_ids, (passages @ vector).tolist(), strict=True))
        assert found[query_id] == pytest.approx(wanted, abs=1e-5)


@needs_java
def test_pyserinis_encoders_take_their_own_adapter(checkpoint: Path) -> None:
    from iaa_retrieval.pyserini_plugin.encoders import IaaDocumentEncoder, IaaQueryEncoder

    documents = IaaDocumentEncoder(str(checkpoint), precision="fp32")
    queries = IaaQueryEncoder(str(checkpoint))
    assert documents.fingerprint == queries.fingerprint
    queries.bi_encoder = queries.bi_encoder.with_lengths(query=100)  # changed settings keep both encoders
    expected = vectors_by_peft(checkpoint, "query", TEXTS)
    np.testing.assert_allclose(queries.encode_batch(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(queries.encode(TEXTS[0]), expected[0], atol=1e-6)
    passages = vectors_by_peft(checkpoint, "passage", TEXTS)
    np.testing.assert_allclose(documents.encode(TEXTS), passages, atol=1e-6)
    np.testing.assert_allclose(documents.encode(TEXTS, max_length=100), passages, atol=1e-6)


def test_reranking_takes_both_adapters(checkpoint: Path) -> None:
    encoder = load_bi_encoder(str(checkpoint), precision="fp32", device="cpu")
    texts = {f"d{number}": text for number, text in enumerate(TEXTS)}
    run = rerank_run(encoder, {"q": dict.fromkeys(texts, 1.0)}, {"q": "water"}, lambda doc_ids: texts)
    scores = vectors_by_peft(checkpoint, "passage", TEXTS) @ vectors_by_peft(checkpoint, "query", ["water"])[0]
    assert run["q"] == pytest.approx(dict(zip(texts, scores.tolist(), strict=True)), abs=1e-5)


def test_a_server_holds_both_adapters(checkpoint: Path, toy: Any) -> None:
    server = AdapterServer(str(toy.backbone), precision="fp32", device="cpu")
    server.load("it", checkpoint)
    alone = load_bi_encoder(str(checkpoint), precision="fp32", device="cpu")
    np.testing.assert_array_equal(server.encode_queries("it", TEXTS), encode_queries(alone, TEXTS))
    np.testing.assert_array_equal(server.encode_passages("it", TEXTS), encode_passages(alone, TEXTS))


def test_a_resumed_run_ends_with_the_same_bits(toy_options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, Any] = {"separate_encoders": True, "dev_split": "dev", "eval_steps": 2, "dropout": 0.1}
    whole = train_retriever(toy_options(name="whole", **values))
    with monkeypatch.context() as patch:
        kill_after_steps(patch, 3)
        with pytest.raises(Killed):
            train_retriever(toy_options(name="killed", **values))
    with pytest.raises(UsageError, match=r"begun with another separate_encoders"):
        train_retriever(toy_options(name="killed", resume=True, **{**values, "separate_encoders": False}))
    resumed = train_retriever(toy_options(name="killed", resume=True, **values))
    assert same(whole.output, resumed.output)
    assert whole.dev_scores == resumed.dev_scores


def test_bf16_on_a_cpu(toy_options: Options) -> None:
    options = toy_options(separate_encoders=True, max_steps=3, dev_split="dev", precision="bf16")
    model: Any = new_tuned_model(BI_ENCODER, options.tuning, options.text, "cpu", "bf16").model
    frozen = [dict(network.get_base_model().named_parameters()) for network in model.networks]
    shared = [name for name, parameter in frozen[0].items() if not parameter.requires_grad]
    assert all(frozen[0][name].dtype == torch.bfloat16 and frozen[0][name] is frozen[1][name] for name in shared)
    for part in adapters(train_retriever(options).output):
        assert {tensor.dtype for tensor in part.values()} == {torch.float32}
        assert all(torch.isfinite(tensor).all() for tensor in part.values())


def test_two_processes_learn_what_one_learns(toy: Any, toy_options: Options, tmp_path: Path) -> None:
    """Two times 4 queries, with the negatives of both processes, give both adapters the gradient of 8."""
    arguments = {
        "--collection": toy.collection, "--split": "train", "--backbone": toy.backbone, "--negatives": toy.run,
        "--batch-size": 4, "--max-steps": 3, "--precision": "fp32", "--device": "cpu", "--output": tmp_path / "two",
    }  # fmt: skip
    words = [str(word) for pair in arguments.items() for word in pair]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*torchrun, "-m", "iaa_retrieval.train", "bi-encoder", *words, "--separate-encoders"],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    one = train_retriever(toy_options(name="one", separate_encoders=True, max_steps=3, batch_size=8)).output
    for left, right in zip(adapters(one), adapters(tmp_path / "two"), strict=True):
        assert left.keys() == right.keys()
        for name in left:
            torch.testing.assert_close(left[name], right[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("bi-encoder", {"method": "full"}, "two adapters on one frozen backbone, and method full freezes nothing"),
        ("cross-encoder", {}, "only a bi-encoder has separate encoders"),
    ],
)
def test_what_cannot_have_separate_encoders(
    kind: str, values: dict[str, Any], message: str, toy_options: Options
) -> None:
    with pytest.raises(UsageError, match=message):
        train_retriever(toy_options(kind, separate_encoders=True, **values))


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def test_adapters_that_changed_places_are_refused(copied: Path) -> None:
    load_bi_encoder(str(copied))
    (copied / "query").rename(copied / "other")
    (copied / "passage").rename(copied / "query")
    (copied / "other").rename(copied / "passage")
    with pytest.raises(IaaRetrievalError, match="its weights are not those that"):
        load_bi_encoder(str(copied))


@pytest.mark.parametrize("role", ROLES)
def test_a_checkpoint_without_one_of_them_is_refused(role: str, copied: Path) -> None:
    shutil.rmtree(copied / role)
    with pytest.raises(IaaRetrievalError, match=r"nor both of query/ and passage/ with an adapter; it is not a comple"):
        load_bi_encoder(str(copied))


def test_a_checkpoint_from_before_there_were_separate_encoders(toy_options: Options) -> None:
    output = train_retriever(toy_options(max_steps=1)).output
    before = encode_queries(load_bi_encoder(str(output), precision="fp32"), CONTENT_WORDS[:5])
    path = output / "retriever.json"
    values = json.loads(path.read_text())
    assert values.pop("separate_encoders") is False
    path.write_text(json.dumps(values))
    after = encode_queries(load_bi_encoder(str(output), precision="fp32"), CONTENT_WORDS[:5])
    np.testing.assert_array_equal(before, after)

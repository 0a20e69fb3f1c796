"""``train bi-encoder --tune queries``: an adapter for queries, for an index of documents that stays as it is."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from interruptions import Killed, kill_after_steps
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

from iaa_retrieval.collections.loading import load_collection
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import sha256_of
from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.stored_vectors import open_stored_vectors
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.jobs.encode import encode_corpus
from iaa_retrieval.jobs.encode_queries import encode_queries as encode_queries_to
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.options import changed
from iaa_retrieval.pyserini_plugin.index_guard import require_fitting_index
from iaa_retrieval.training.data import Example, TrainingData
from iaa_retrieval.training.indexed_data import RandomDocuments
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.query_side import QuerySideCollator, document_batch, query_side_kind
from iaa_retrieval.training.run import train_retriever
from iaa_retrieval.tuning.methods import method_names

Options = Callable[..., TrainOptions]
TEXTS = ["the boy read a good book", "land and water made the world", "hot word time", "mother"]
FAST = {"max_steps": 3, "warmup": 0.0, "lr": 0.02}


def load(path: Path | str) -> Any:
    """A checkpoint, or the plain backbone with the pooling that training gives it where nothing says another."""
    plain = {} if read_retriever_config(path) is not None else {"pooling": "mean", "normalize": True}
    return load_bi_encoder(str(path), precision="fp32", device="cpu", **plain)


def index_of(toy: Any, encoder: str, directory: Path, **settings: Any) -> Path:
    encode_corpus(load(encoder), str(toy.collection), directory, **settings)
    return directory


@pytest.fixture(scope="module")
def index(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index_of(toy, str(toy.backbone), tmp_path_factory.mktemp("index") / "untuned")


@pytest.fixture
def query_options(toy_options: Options, index: Path) -> Options:
    """Options of the toy collection for tuning queries, with negatives that the index finds."""

    def make(name: str = "out", **values: Any) -> TrainOptions:
        settings = {"tune": "queries", "index": str(index), "negatives": None, **FAST, **values}
        return changed(toy_options(name=name), **settings)

    return make


@pytest.mark.parametrize("method", method_names())
def test_every_method_tunes_queries_and_leaves_documents(
    method: str, toy: Any, query_options: Options, index: Path
) -> None:
    result = train_retriever(query_options(method=method, dev_split="dev"))
    tuned, untuned = load(result.output), load(toy.backbone)
    assert np.abs(encode_queries(tuned, TEXTS) - encode_queries(untuned, TEXTS)).max() > 1e-3
    np.testing.assert_array_equal(encode_passages(tuned, TEXTS), encode_passages(untuned, TEXTS))
    files = {path.name for path in result.output.iterdir()}
    assert "query" in files and not {"passage", "adapter_model.safetensors", "model.safetensors"} & files

    with torch.no_grad():  # with transformers, and PEFT where it is an adapter, alone
        network: Any = AutoModel.from_pretrained(toy.backbone if method != "full" else result.output / "query")
        if method != "full":
            network = PeftModel.from_pretrained(network, result.output / "query")
        hidden = network.eval()(**tuned.tokenizer(TEXTS[0], return_tensors="pt", return_token_type_ids=False))[0]
        alone = torch.nn.functional.normalize(hidden[0].mean(0), dim=0)
    np.testing.assert_allclose(encode_queries(tuned, TEXTS[:1])[0], alone.numpy(), atol=1e-6)

    export(ExportOptions(str(result.output), "self-contained", str(result.output) + "-moved"))
    np.testing.assert_array_equal(encode_queries(load(f"{result.output}-moved"), TEXTS), encode_queries(tuned, TEXTS))

    config = read_retriever_config(result.output)
    made_by = read_retriever_config(index)
    assert config is not None and config.documents is not None and made_by is not None
    assert config.documents.fingerprint == config.index_fingerprint == made_by.fingerprint != config.fingerprint
    for encoder in (tuned, load(f"{result.output}-moved")):
        require_fitting_index(index, encoder, index_name="index", encoder_name="encoder")
    assert set(result.dev_scores) == {"nDCG@10", "MRR@10"}
    assert "only queries were tuned" in (result.output / "README.md").read_text()


@pytest.fixture(scope="module")
def first(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ordinary adapter, which both kinds of text go through, away from its start."""
    options = TrainOptions.of(
        kind="bi-encoder",
        collection=str(toy.collection),
        split="train",
        output=str(tmp_path_factory.mktemp("first") / "first"),
        backbone=str(toy.backbone),
        method="iaa-l",
        batch_size=8,
        precision="fp32",
        device="cpu",
        **FAST,
    )
    return train_retriever(options).output


def test_queries_are_tuned_further_from_an_adapter_that_documents_keep(
    toy: Any, first: Path, index: Path, query_options: Options, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"was made by .*queries are tuned from the encoder that made the index"):
        train_retriever(query_options(start_from=str(first)))
    own = index_of(toy, str(first), tmp_path / "index")
    with pytest.raises(UsageError, match="an adapter as --start-from"):
        train_retriever(query_options(index=str(own)))

    second = train_retriever(query_options(name="second", index=str(own), start_from=str(first))).output
    assert sha256_of(second / "passage" / "adapter_model.safetensors") == sha256_of(first / "adapter_model.safetensors")
    before, after = load(first), load(second)
    np.testing.assert_array_equal(encode_passages(after, TEXTS), encode_passages(before, TEXTS))
    assert np.abs(encode_queries(after, TEXTS) - encode_queries(before, TEXTS)).max() > 1e-3
    require_fitting_index(own, after, index_name="index", encoder_name="encoder")
    with pytest.raises(IaaRetrievalError, match="made by different encoders"):
        require_fitting_index(index, after, index_name="index", encoder_name="encoder")

    third = train_retriever(query_options(name="third", index=str(own), start_from=str(second))).output
    np.testing.assert_array_equal(encode_passages(load(third), TEXTS), encode_passages(before, TEXTS))
    assert sha256_of(third / "query" / "adapter_model.safetensors") != sha256_of(
        second / "query" / "adapter_model.safetensors"
    )
    with pytest.raises(UsageError, match="was tuned on its queries alone"):
        train_retriever(query_options(name="no", tune="both", index=None, start_from=str(second)))
    with pytest.raises(IaaRetrievalError, match="a backbone is a whole network"):
        train_retriever(query_options(name="no", backbone=str(second)))


def test_a_whole_network_as_the_backbone(
    toy: Any, toy_options: Options, query_options: Options, tmp_path: Path
) -> None:
    from iaa_retrieval.options import changed

    full = train_retriever(changed(toy_options(name="full"), method="full", **FAST)).output
    own = index_of(toy, str(full), tmp_path / "index")
    tuned = load(train_retriever(query_options(name="tuned", index=str(own), backbone=str(full))).output)
    require_fitting_index(own, tuned, index_name="index", encoder_name="encoder")
    np.testing.assert_array_equal(encode_passages(tuned, TEXTS), encode_passages(load(full), TEXTS))


@pytest.fixture(scope="module")
def checkpoint(toy: Any, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = TrainOptions.of(
        kind="bi-encoder",
        tune="queries",
        index=str(index),
        collection=str(toy.collection),
        split="train",
        dev_split="dev",
        output=str(tmp_path_factory.mktemp("query-side") / "checkpoint"),
        backbone=str(toy.backbone),
        random_negatives=1000,
        batch_size=8,
        precision="fp32",
        device="cpu",
        **FAST,
    )
    return train_retriever(options).output


def test_the_dev_score_is_that_of_a_search_of_the_index(checkpoint: Path, toy: Any, index: Path) -> None:
    collection = load_collection(str(toy.collection), "dev")
    qrels = collection.qrels()
    stored = faiss.read_index(str(index / "index")).reconstruct_n(0, 40)
    doc_ids = (index / "docid").read_text().splitlines()
    reciprocal = []
    for query in collection.queries():
        if query.query_id in qrels:
            scores = stored @ encode_queries(load(checkpoint), [query.text])[0]
            rank = 1 + [doc_ids[i] for i in np.argsort(-scores)].index(next(iter(qrels[query.query_id])))
            reciprocal.append(1 / rank if rank <= 10 else 0.0)
    config = read_retriever_config(checkpoint)
    assert config is not None
    assert config.dev_scores["MRR@10"] == pytest.approx(np.mean(reciprocal), abs=1e-6)
    assert config.training["negatives"] == "what the index finds"


def test_what_else_takes_it(checkpoint: Path, toy: Any, index: Path, tmp_path: Path) -> None:
    alone = load(checkpoint)
    server = AdapterServer(str(toy.backbone), precision="fp32", device="cpu")
    server.load("it", checkpoint)
    np.testing.assert_array_equal(server.encode_queries("it", TEXTS), encode_queries(alone, TEXTS))
    np.testing.assert_array_equal(server.encode_passages("it", TEXTS), encode_passages(alone, TEXTS))

    with pytest.raises(UsageError, match="separate query and passage encoders"):
        export(ExportOptions(str(checkpoint), "merged", str(tmp_path / "merged")))

    # Documents that it encodes stand beside those that the untuned encoder did.
    more = index_of(toy, str(checkpoint), tmp_path / "more")
    np.testing.assert_allclose(
        faiss.read_index(str(more / "index")).reconstruct_n(0, 40),
        faiss.read_index(str(index / "index")).reconstruct_n(0, 40),
        atol=1e-6,
    )
    require_fitting_index(more, load(toy.backbone), index_name="index", encoder_name="encoder")
    encode_queries_to(alone, TEXTS, tmp_path / "queries")
    encoded, made_by = read_retriever_config(tmp_path / "queries"), read_retriever_config(index)
    assert encoded is not None and made_by is not None
    assert encoded.index_fingerprint == made_by.index_fingerprint

    broken = Path(shutil.copytree(checkpoint, tmp_path / "broken"))
    shutil.rmtree(broken / "query")
    with pytest.raises(IaaRetrievalError, match="it is not a complete checkpoint"):
        load(broken)


def test_a_step_sees_the_vectors_of_the_index(index: Path) -> None:
    stored = open_stored_vectors(index)
    data = TrainingData({"a": "x", "d7": "y"}, {}, {"a": ["d3", "d5"], "d7": ["d1"]}, {})
    examples = [Example("a", ["d5", "d2"]), Example("d7", ["d1", "d3"])]
    whole = faiss.read_index(str(index / "index")).reconstruct_n(0, 40)
    place = {doc_id: n for n, doc_id in enumerate((index / "docid").read_text().splitlines())}

    batch = document_batch(examples, data, stored, RandomDocuments(stored, 6, 1))
    keys = batch["passage_keys"].tolist()
    assert keys[:4] == [place[d] for d in ("d5", "d2", "d1", "d3")]
    assert len(keys) == 10 and len(set(keys[4:])) == 6
    np.testing.assert_array_equal(batch["passage_vectors"].numpy(), whole[keys])
    assert batch["positive_index"].tolist() == [0, 2]
    assert [set(row) - {-1} for row in batch["relevant_keys"].tolist()] == [
        {place["d3"], place["d5"]},
        {place["d1"], place["d7"]},
    ]
    again = document_batch(examples, data, stored, RandomDocuments(stored, 6, 1))
    assert again["passage_keys"].tolist() == keys
    other = document_batch(examples[:1], data, stored, RandomDocuments(stored, 6, 1))
    assert other["passage_keys"].tolist()[2:] != keys[4:]
    everything = document_batch(examples, data, stored, RandomDocuments(stored, 99, 1))
    assert sorted(everything["passage_keys"].tolist()[4:]) == list(range(40))


def test_the_loss_is_the_contrastive_one_over_these_vectors(query_options: Options, index: Path, toy: Any) -> None:
    """Against cross-entropy written out by hand; the other relevant document of a query is no negative of it."""
    stored = open_stored_vectors(index)
    options = query_options(method="full")
    data = TrainingData({"a": "hot word", "b": "time way"}, {}, {"a": ["d3", "d5"], "b": ["d1"]}, {})
    kind = query_side_kind(stored, 0, 1)
    model = load(toy.backbone)
    objective = kind.objective(model, options.resolved(), options.objective).eval()
    collate = QuerySideCollator(model, data, stored, RandomDocuments(stored, 0, 1))
    loss = objective(**collate([Example("a", ["d5", "d2"]), Example("b", ["d1", "d3"])]))["loss"]
    whole = faiss.read_index(str(index / "index")).reconstruct_n(0, 40)
    vectors = {d: whole[n] for n, d in enumerate((index / "docid").read_text().splitlines())}
    queries = encode_queries(model, ["hot word", "time way"])
    expected = []
    for query, positive, others in ((0, "d5", ["d2", "d1"]), (1, "d1", ["d5", "d2", "d3"])):
        scores = np.array([vectors[d] @ queries[query] for d in (positive, *others)]) / 0.05
        expected.append(np.log(np.exp(scores - scores[0]).sum()))
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("refresh", [False, True])
def test_a_resumed_run_ends_with_the_same_bits(
    refresh: bool, query_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: dict[str, Any] = {"max_steps": 8, "eval_steps": 2, "dev_split": "dev", "random_negatives": 5}
    values["refresh_negatives"] = refresh
    whole = train_retriever(query_options(name="whole", **values))
    with monkeypatch.context() as patch:
        kill_after_steps(patch, 5)
        with pytest.raises(Killed):
            train_retriever(query_options(name="killed", **values))
    resumed = train_retriever(query_options(name="killed", resume=True, **values))
    left, right = (load_file(run.output / "query" / "adapter_model.safetensors") for run in (whole, resumed))
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert whole.dev_scores == resumed.dev_scores


def test_documents_that_the_index_lacks(
    toy: Any, query_options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = {document.doc_id: document.contents for document in load_collection(str(toy.collection), None).documents()}
    some = {doc_id: text for doc_id, text in texts.items() if doc_id not in ("d3", "d4")}
    encode_corpus(load(toy.backbone), some, tmp_path / "some")
    with caplog.at_level(logging.WARNING):
        train_retriever(query_options(index=str(tmp_path / "some")))
    assert "2 of 24 relevant documents are not in it (e.g. d3 of query q3); left out of training" in caplog.text
    encode_corpus(load(toy.backbone), {"x": "hot word", "y": "time"}, tmp_path / "strange")
    with pytest.raises(IaaRetrievalError, match="is it an index of this collection"):
        train_retriever(query_options(name="other", index=str(tmp_path / "strange")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"index": None}, "give the index that holds them with --index"),
        ({"tune": "both"}, "--index is for --tune queries"),
        ({"tune": "both", "index": None, "random_negatives": 4}, "--random-negatives is for --tune queries"),
        ({"separate_encoders": True}, "leave --separate-encoders out"),
        ({"document_max_length": 20, "train_max_length": 9}, "leave --document-max-length, --train-max-length out"),
        ({"refresh_negatives": True, "negatives": "a.trec"}, "give one of them"),
        ({"method": "full", "start_from": "somewhere"}, "give that checkpoint as --backbone"),
        ({"kind": "cross-encoder"}, "only a bi-encoder encodes queries by themselves"),
        ({"pooling": "cls"}, "mean pooling, l2 norm.*cls pooling"),
        ({"index": "nowhere"}, "no Faiss directory"),
    ],
)
def test_what_cannot_be_meant(values: dict[str, Any], message: str, query_options: Options) -> None:
    with pytest.raises(IaaRetrievalError, match=message):
        train_retriever(query_options(**values))


FACTORIES = {
    "Flat": True, "HNSW8": True, "IVF4,Flat": True, "SQ8": True, "IVF4,SQ8": True, "PCA8,Flat": True,
    "IVF4,PQ4x4fs": False, "PCA8,IVF4,PQ4x4fs": False,
}  # fmt: skip


@pytest.mark.parametrize(("factory", "gives_back"), FACTORIES.items())
def test_which_indexes_give_their_vectors_back(
    factory: str, gives_back: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = np.random.default_rng(3).normal(size=(700, 16)).astype(np.float32)
    index = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "index"))
    (tmp_path / "docid").write_text("".join(f"d{number}\n" for number in range(700)))
    if not gives_back:
        with pytest.raises(UsageError, match="for fast scans, which do not give back the vectors"):
            open_stored_vectors(tmp_path)
        return
    stored = open_stored_vectors(tmp_path)
    assert (len(stored), stored.dimension) == (700, 16)
    places = stored.locate(["d699", "d0", "nothing", "d123"])
    assert places == {"d699": 699, "d0": 0, "d123": 123}
    exact = factory in ("Flat", "HNSW8", "IVF4,Flat")
    found = stored.vectors([699, 0, 123])
    if exact:
        np.testing.assert_array_equal(found, vectors[[699, 0, 123]])
    elif "SQ8" in factory:
        np.testing.assert_allclose(found, vectors[[699, 0, 123]], atol=0.1)
    assert ("roughly" in caplog.text) == (not exact)
    if factory == "Flat":
        scores = vectors @ vectors[5]
        best = np.argsort(-scores)[:3]
        hits = stored.search(vectors[5:6], 3)[0]
        assert list(hits) == [f"d{number}" for number in best]
        assert list(hits.values()) == pytest.approx(scores[best].tolist(), rel=1e-5)
        assert stored.run(["d5"], vectors[5:6], {"d5": {"d9": 1}}, 3)["d5"].keys() == {
            f"d{number}" for number in np.argsort(-scores)[:4] if number != 5
        }

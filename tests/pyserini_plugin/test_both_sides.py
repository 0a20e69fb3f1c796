"""Documents and queries of one encoder go the same way, and what does not belong together is refused."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from click.testing import CliRunner, Result
from hub import put_on_hub, use_hub

from iaa_retrieval import encode, rerank, search
from iaa_retrieval.collections.runs import read_run
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.models.backbone import hub_options
from iaa_retrieval.models.retriever_config import read_retriever_config

pytestmark = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")

TEXT = "the boy read a good book by the water"
LONG = " ".join([*["land"] * 50, *["people need air"] * 20])


@dataclass(frozen=True)
class Place:
    """A folder with a corpus and topics of the same text."""

    folder: Path
    hub: Path
    corpus: Path
    topics: Path

    def run(self, command: Any, *words: object) -> Result:
        arguments = [str(word) for word in words]
        with pytest.MonkeyPatch.context() as patch:  # stock pyserini.encode reads the command line itself
            patch.setattr(sys, "argv", ["encode", *arguments])
            return CliRunner().invoke(command, arguments)

    def encode(self, encoder: object, name: str, *options: object, faiss: bool = True) -> Result:
        output = ["output", "--embeddings", self.folder / name, *(["--to-faiss"] if faiss else [])]
        words = ["encoder", "--encoder", encoder, "--dimension", 32, "--device", "cpu", *options]
        return self.run(encode.main, "input", "--corpus", self.corpus, *output, *words)

    def search(self, encoder: object, index: str, *options: object) -> Result:
        return self.run(
            search.main, "faiss", "--index", self.folder / index, "--encoder", encoder, "--topics", self.topics,
            "--output", self.folder / "run.trec", *options,
        )  # fmt: skip

    def score(self) -> float:
        """Of the document that is the query."""
        return read_run(self.folder / "run.trec")["q"]["d"]

    def vector(self, name: str) -> np.ndarray:
        line = (self.folder / name / "embeddings.jsonl").read_text().splitlines()[0]
        return np.array(json.loads(line)["vector"])


@pytest.fixture
def place(tmp_path: Path, tiny_backbone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Place:
    use_hub(tmp_path / "hub", monkeypatch)
    hub_options.cache_clear()
    corpus, topics = tmp_path / "docs.jsonl", tmp_path / "queries.tsv"
    corpus.write_text("".join(json.dumps({"id": key, "contents": TEXT}) + "\n" for key in ("d", "e")))
    topics.write_text(f"q\t{TEXT}\n")
    for name in ("facebook/contriever", "castorini/tct_colbert-v2-msmarco", "castorini/cosdpr-distil", "some/dkrr"):
        put_on_hub(tmp_path / "hub", name, tiny_backbone("bert"))
    return Place(tmp_path, tmp_path / "hub", corpus, topics)


def succeeded(result: Result) -> None:
    assert result.exit_code == 0, (result.output, result.exception)


@pytest.mark.parametrize(
    ("encoder", "documents", "queries"),
    [
        ("facebook/contriever", (), ()),
        ("facebook/contriever", ("--encoder-class", "contriever"), ("--encoder-class", "contriever")),
        ("facebook/contriever", (), ("--encoder-class", "contriever")),
        ("all-MiniLM-L6-v2", ("--encoder-class", "sentence-transformers"), ("--encoder-class", "sentence")),
    ],
)
def test_one_text_has_one_vector_on_both_sides(
    place: Place, encoder: str, documents: tuple[str, ...], queries: tuple[str, ...]
):
    succeeded(place.encode(encoder, "vectors", *documents, "--precision", "fp32", *_width(encoder), faiss=False))
    succeeded(place.encode(encoder, "index", *documents, "--precision", "fp32", *_width(encoder)))
    vector = place.vector("vectors")
    succeeded(place.search(encoder, "index", *queries))
    assert place.score() == pytest.approx(float(vector @ vector), rel=1e-4)
    words = ["queries", "--topics", place.topics, "--encoder", encoder, "--output", place.folder / "q", *documents]
    succeeded(place.run(encode.main, *words))
    query = np.stack(pandas.read_pickle(place.folder / "q" / "embedding.pkl")["embedding"])[0]
    np.testing.assert_allclose(query, vector, atol=1e-5)


def _width(encoder: str) -> list[object]:
    return ["--dimension", 384] if "MiniLM" in encoder else []


def test_contriever_is_what_stock_pyserini_makes_of_it(place: Place):
    succeeded(place.encode("facebook/contriever", "vectors", "--precision", "fp32", faiss=False))
    prepare_java()
    from pyserini.encode import AutoDocumentEncoder

    stock = AutoDocumentEncoder("facebook/contriever", device="cpu", pooling="mean", l2_norm=False)
    np.testing.assert_allclose(place.vector("vectors"), stock.encode([TEXT])[0], atol=1e-5)


def test_a_class_of_pyserinis_own_encodes_both_sides_and_is_recorded(place: Place):
    hub_id = "castorini/tct_colbert-v2-msmarco"
    succeeded(place.encode(hub_id, "index"))
    config = read_retriever_config(place.folder / "index")
    assert config is not None and (config.encoder_class, config.backbone) == ("tct_colbert", hub_id)
    succeeded(place.encode(hub_id, "vectors", faiss=False))
    from pyserini.encode import TctColBertDocumentEncoder, TctColBertQueryEncoder

    vector = place.vector("vectors")
    np.testing.assert_allclose(vector, TctColBertDocumentEncoder(hub_id, device="cpu").encode([TEXT])[0], atol=1e-5)
    succeeded(place.search(hub_id, "index"))
    query = TctColBertQueryEncoder(hub_id).encode(TEXT)
    assert place.score() == pytest.approx(float(query @ vector), rel=1e-4)


def test_documents_of_cosdpr_are_not_taken_for_dpr(place: Place, monkeypatch: pytest.MonkeyPatch):
    prepare_java()
    from pyserini.encode import document_encoder_class_map

    used: list[str] = []
    for name in ("dpr", "cosdpr"):
        monkeypatch.setitem(document_encoder_class_map, name, lambda name=name, **options: [used.append(name), exit(3)])
    place.encode("castorini/cosdpr-distil", "index")
    assert used == ["cosdpr"]


@pytest.mark.parametrize("faiss_encoder", ("castorini/tct_colbert-v2-msmarco", "facebook/contriever"))
def test_an_index_of_another_class_is_refused_naming_both(place: Place, faiss_encoder: str):
    other = {"facebook/contriever": "castorini/tct_colbert-v2-msmarco"}.get(faiss_encoder, "facebook/contriever")
    succeeded(place.encode(faiss_encoder, "index"))
    result = place.search(other, "index")
    assert result.exit_code == 1
    assert "Pyserini's class tct_colbert" in result.output and "the encoder of iaa_retrieval" in result.output
    assert str(place.folder / "index") in result.output and other in result.output
    assert not (place.folder / "run.trec").exists()


def test_queries_and_rerank_refuse_a_class_of_pyserinis_own_by_name(place: Place):
    hub_id = "castorini/tct_colbert-v2-msmarco"
    common = ("--topics", place.topics, "--encoder", hub_id, "--output", place.folder / "out")
    result = place.run(encode.main, "queries", *common)
    assert result.exit_code == 2 and "tct_colbert" in result.output
    (place.folder / "run.trec").write_text("q Q0 d 1 1 x\n")
    result = place.run(rerank.main, "--run", place.folder / "run.trec", "--collection", "embedded", *common)
    assert result.exit_code == 2 and "tct_colbert" in result.output


def test_a_class_without_documents_is_refused(place: Place):
    result = place.encode("some/dkrr", "index")
    assert result.exit_code == 2
    assert "no encoder of class dkrr" in result.output
    assert not (place.folder / "index").exists()


def test_max_length_of_a_search_does_what_it_says_or_is_refused(
    place: Place, tiny_backbone: Callable[..., Path], caplog: Any
):
    backbone = tiny_backbone("bert")
    place.topics.write_text(f"q\t{LONG}\n")
    place.corpus.write_text("".join(json.dumps({"id": key, "contents": LONG}) + "\n" for key in "de"))
    succeeded(place.encode(backbone, "index", "--precision", "fp32", "--pooling", "mean"))
    scores = []
    for options in ((), ("--max-length", 128), ("--max-length=50",)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
            succeeded(place.search(backbone, "index", "--pooling", "mean", *options))
        scores.append(place.score())
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert abs(scores[2] - scores[0]) > 1e-3
    assert "1 of 1 queries are longer than 50 tokens and were cut (--max-length sets another length)" in caplog.text
    assert place.search(backbone, "index", "--max-length", 4000).exit_code == 2
    result = place.search("castorini/tct_colbert-v2-msmarco", "index", "--max-length", 50)
    assert result.exit_code == 2 and "no effect" in result.output


def test_a_searcher_in_python_refuses_the_index_of_another_encoder(place: Place, tiny_backbone: Callable[..., Path]):
    prepare_java()
    from pyserini.search.faiss import FaissSearcher

    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder

    backbone = str(tiny_backbone("bert"))
    succeeded(place.encode(backbone, "index", "--pooling", "mean"))
    index = str(place.folder / "index")
    with pytest.raises(IaaRetrievalError) as error:
        FaissSearcher(index, IaaQueryEncoder(backbone))
    assert "different encoders" in str(error.value) and index in str(error.value) and backbone in str(error.value)
    # The lengths, prompts and prefixes of queries are their own.
    found = FaissSearcher(index, IaaQueryEncoder(backbone, pooling="mean", prefix="find", max_length=9)).search(TEXT, 1)
    assert [hit.docid for hit in found] == ["e"] or [hit.docid for hit in found] == ["d"]
    (place.folder / "index" / "retriever.json").unlink()
    FaissSearcher(index, IaaQueryEncoder(backbone))  # nobody knows who made it
    with pytest.raises(IaaRetrievalError, match="vectors of 32 numbers"):
        FaissSearcher(index, IaaQueryEncoder("all-MiniLM-L6-v2"))


def test_other_encoders_search_as_before(place: Place, tiny_backbone: Callable[..., Path]):
    prepare_java()
    from pyserini.encode import AutoQueryEncoder
    from pyserini.search.faiss import FaissSearcher

    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder

    backbone = str(tiny_backbone("bert"))
    succeeded(place.encode(backbone, "index"))
    IaaQueryEncoder(backbone)
    IaaQueryEncoder(backbone)  # the guard is put on once
    assert not hasattr(FaissSearcher.__init__.__wrapped__, "guarded")
    assert FaissSearcher(str(place.folder / "index"), AutoQueryEncoder(backbone)).search(TEXT, 2)


def test_pyserinis_default_length_does_not_override_the_models_own(tiny_backbone: Callable[..., Path]):
    from iaa_retrieval.pyserini_plugin.encoders import IaaDocumentEncoder

    backbone = str(tiny_backbone("bert", 300))
    own = IaaDocumentEncoder(backbone, precision="fp32", max_length=20)
    expected = own.encode([LONG])
    # What pyserini.encode passes where its user said nothing; a length that was said counts.
    np.testing.assert_array_equal(own.encode([LONG], max_length=256, fp16=False, add_sep=False), expected)
    assert np.abs(own.encode([LONG], max_length=40, fp16=False, add_sep=False) - expected).max() > 1e-4
    assert np.abs(own.encode([LONG], max_length=256) - expected).max() > 1e-4

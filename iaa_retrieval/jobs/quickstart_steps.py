"""The quickstart as steps: BM25, the untuned encoder, and both tuned stages over a sample of one collection's queries.

The steps are functions of this process, for the collection is small and starting Python, torch and Java anew for each
of them would take longer than most of the work.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.loading import load_collection, split_spec
from iaa_retrieval.collections.runs import read_run, write_run
from iaa_retrieval.collections.sampling import sample_ids
from iaa_retrieval.collections.types import Query, Run
from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.corpus_encoder import CorpusEncoding, encode_corpus
from iaa_retrieval.inference.corpus_reader import Corpus
from iaa_retrieval.inference.loading import load_for_inference
from iaa_retrieval.inference.reranking import rerank_run, with_tail
from iaa_retrieval.jobs.quickstart_options import (
    BI_ENCODER,
    BM25,
    CROSS_ENCODER,
    INDEX,
    TRAIN_INDEX,
    UNTUNED_RUN,
    QuickstartOptions,
    dense_run,
    index_of,
    reranked_run,
)
from iaa_retrieval.options import changed, flat
from iaa_retrieval.pyserini_plugin.bm25 import bm25_run
from iaa_retrieval.pyserini_plugin.lucene_index import build_index
from iaa_retrieval.reproduction.steps import FunctionStep
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

HITS = 100
DEV_QUERIES = 100  # of those that are held out, on which the re-ranker learns how much of BM25 to keep


class QuickstartData:
    """What the steps read of the collection; the sample of test queries and judgments is drawn at once.

    Attributes:
        source: the collection without a split.
        searched: the collection whose documents the test queries are searched in.
        learnt: the same of the training queries; another one where each split has documents of its own.
        qrels: judgments of the sampled test queries.
        test_queries: the sample.

    Raises:
        UsageError: there are no training or no test queries.
    """

    def __init__(self, options: QuickstartOptions) -> None:
        self.source = split_spec(options.collection)[0]
        whole = load_collection(self.source)
        for split in ("train", "test"):
            if split not in whole.splits():
                raise UsageError(
                    f"{self.source} has no {split} split; the quickstart trains on train and scores on test"
                )
        self.searched = load_collection(self.source, "test") if whole.documents_by_split else whole
        self.learnt = load_collection(self.source, "train") if whole.documents_by_split else whole
        judged = load_collection(self.source, "test").qrels()
        self.qrels = {query_id: judged[query_id] for query_id in sample_ids(judged, options.test_queries, options.seed)}
        self.test_queries = self._queries("test", set(self.qrels))
        self._options = options

    def train_queries(self) -> list[Query]:
        """The sample of training queries, the same that training draws."""
        judged = load_collection(self.source, "train").qrels()
        return self._queries("train", set(sample_ids(judged, self._options.train_queries, self._options.seed)))

    def texts_of(self, ids: Sequence[str]) -> dict[str, str]:
        """Document ids -> their texts."""
        return {key: document.contents for key, document in self.searched.get_documents(ids).items()}

    def _queries(self, split: str, ids: set[str]) -> list[Query]:
        return [query for query in load_collection(self.source, split).queries() if query.query_id in ids]


def quickstart_steps(options: QuickstartOptions, data: QuickstartData, directory: Path) -> list[FunctionStep]:
    """Every step, in the order to run them; each run's is named ``NAME.trec``."""
    # By its path, as any encoder: then the step depends on its content too, should somebody replace it by hand.
    tuned = str(directory / BI_ENCODER)
    apart = data.learnt is not data.searched
    return [
        _index_step(data.searched, INDEX),
        *([_index_step(data.learnt, TRAIN_INDEX)] if apart else []),
        _bm25_step(options, data, TRAIN_INDEX if apart else INDEX),
        *_dense_steps(options, data, UNTUNED_RUN, options.backbone),
        _training_step(options, data, BI_ENCODER, options.bi_steps, options.bi_lr, options.max_length),
        _training_step(options, data, CROSS_ENCODER, options.cross_steps, options.cross_lr, options.pair_length),
        *_dense_steps(options, data, dense_run(options), tuned, needs=(BI_ENCODER,)),
        _reranking_step(options, data),
    ]


def _of(options: QuickstartOptions, *names: str) -> dict[str, Any]:
    """Some of the options, by which a step's output is known."""
    return {name: getattr(options, name) for name in names}


def _of_collection(collection: Collection) -> dict[str, Any]:
    # The embedded collection is made of the running Python's sources.
    return {"collection": collection.name, "python": platform.python_version()}


def _index_step(collection: Collection, name: str) -> FunctionStep:
    def make(output: Path, needed: Mapping[str, Path]) -> None:
        build_index(collection.name, output, threads=os.cpu_count() or 1)

    return FunctionStep(name, make, _of_collection(collection), reads=(collection.name,))


def _bm25_step(options: QuickstartOptions, data: QuickstartData, train_index: str) -> FunctionStep:
    """The first stage of the test queries, and of the training queries, whose negatives come from it."""

    def make(output: Path, needed: Mapping[str, Path]) -> None:
        run: Run = {}
        for index, queries in ((train_index, data.train_queries()), (INDEX, data.test_queries)):
            run |= bm25_run(needed[index], queries, hits=HITS, threads=os.cpu_count() or 1)
        write_run(output, run, "bm25")

    inputs = _of(options, "test_queries", "train_queries", "seed")
    needs = tuple(dict.fromkeys((INDEX, train_index)))
    return FunctionStep(BM25, make, inputs, needs=needs, reads=(data.source,))


def _dense_steps(
    options: QuickstartOptions, data: QuickstartData, name: str, encoder: str, needs: tuple[str, ...] = ()
) -> list[FunctionStep]:
    """Encode the collection, and search it with Pyserini's Faiss searcher."""
    index = index_of(name)

    def encode(output: Path, needed: Mapping[str, Path]) -> None:
        corpus = Corpus(data.searched)
        model = load_for_inference(
            encoder, kind="bi-encoder", document_max_length=options.max_length, precision=options.precision
        )
        encode_corpus(model, corpus, output, CorpusEncoding(fields=corpus.fields, encode_title=True), resume=True)

    def search(output: Path, needed: Mapping[str, Path]) -> None:
        write_run(output, _search(needed[index], encoder, data.test_queries), name)

    inputs = {**_of_collection(data.searched), "encoder": encoder, **_of(options, "max_length", "precision")}
    return [
        FunctionStep(index, encode, inputs, needs, reads=(data.source, encoder)),
        FunctionStep(f"{name}.trec", search, _of(options, "test_queries", "seed"), (index,), reads=(data.source,)),
    ]


def _training_step(
    options: QuickstartOptions, data: QuickstartData, kind: str, steps: int, lr: float, document_max_length: int | None
) -> FunctionStep:
    """Tune on the training queries, with negatives from the BM25 run."""
    training = TrainOptions.of(
        kind=kind,
        collection=data.source,
        output="",
        split="train",
        negative_ranks=(1, 50),
        max_steps=steps,
        lr=lr,
        document_max_length=document_max_length,
        dev_queries=DEV_QUERIES,
        dev_depth=options.rerank_hits,
        **_of(options, "backbone", "method", "budget", "train_queries", "train_max_length", "seed", "precision"),
    )

    def make(output: Path, needed: Mapping[str, Path]) -> None:
        train_retriever(changed(training, output=str(output), negatives=str(needed[BM25]), resume=True))

    inputs = {key: value for key, value in flat(training).items() if key != "output"}
    return FunctionStep(kind, make, inputs, needs=(BM25,), reads=(data.source, options.backbone))


def _reranking_step(options: QuickstartOptions, data: QuickstartData) -> FunctionStep:
    """Re-rank the BM25 run of the test queries."""

    def make(output: Path, needed: Mapping[str, Path]) -> None:
        first_stage = read_run(needed[BM25])
        run = {q.query_id: first_stage[q.query_id] for q in data.test_queries if q.query_id in first_stage}
        model = load_for_inference(str(needed[CROSS_ENCODER]), kind="cross-encoder", precision=options.precision)
        texts = {query.query_id: query.text for query in data.test_queries}
        reranked = rerank_run(model, run, texts, data.texts_of, hits=options.rerank_hits)
        write_run(output, with_tail(reranked, run), reranked_run(options))

    inputs = _of(options, "rerank_hits", "precision")
    return FunctionStep(f"{reranked_run(options)}.trec", make, inputs, (BM25, CROSS_ENCODER), reads=(data.source,))


def _search(index: Path, encoder: str, queries: list[Query]) -> Run:
    # Our encoders first: they find Java, which importing Pyserini needs even for dense search.
    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder  # isort: skip
    from pyserini.search.faiss import FaissSearcher

    searcher = FaissSearcher(str(index), IaaQueryEncoder(encoder))
    found = searcher.batch_search(
        [query.text for query in queries],
        [query.query_id for query in queries],
        k=HITS,
        threads=os.cpu_count() or 1,
    )
    return {query_id: {hit.docid: float(hit.score) for hit in hits} for query_id, hits in found.items()}

"""The main job, from raw collection to a table of scores: BM25, the untuned encoder, and both tuned stages."""

from __future__ import annotations

import logging
import os
import platform
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iaa_retrieval.collections.collection import load_collection, split_spec
from iaa_retrieval.collections.runs import read_run, write_run
from iaa_retrieval.collections.types import Qrels, Query, Run
from iaa_retrieval.errors import UsageError
from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics
from iaa_retrieval.evaluation.significance import holm, paired_t_test
from iaa_retrieval.files import write_json
from iaa_retrieval.inference.corpus_encoder import CorpusEncoding, encode_corpus
from iaa_retrieval.inference.corpus_reader import Corpus
from iaa_retrieval.inference.reranking import rerank_run
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.pyserini_plugin.bm25 import bm25_run
from iaa_retrieval.pyserini_plugin.lucene_index import IndexOptions, build_index
from iaa_retrieval.reproduction.stages import Stages
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import library_versions, train_retriever

LOG = logging.getLogger("iaa_retrieval")
METRICS = "nDCG@10 MRR@10 R@100"
HITS = 100


@dataclass(frozen=True)
class MainJobOptions:
    """What to run the main job on, and how much of it.

    ``test_queries`` and ``train_queries`` bound the queries used (0 is all), drawn by ``seed``.
    """

    collection: str = "embedded"
    output: str = "runs/quickstart"
    backbone: str = "all-MiniLM-L6-v2"
    method: str = "iaa-l"
    budget: str = "0.5%"
    test_queries: int = 300
    train_queries: int = 2000
    rerank_hits: int = 50
    max_length: int = 160
    bi_epochs: float = 2.0
    cross_epochs: float = 1.0
    seed: int = 42
    precision: str = "auto"


def run_main_job(options: MainJobOptions) -> dict[str, Any]:
    """Run all stages that are not valid already; write and return ``results.json``.

    Raises:
        UsageError: the collection has no training or no test queries.
        IaaRetrievalError: a stage failed; the outputs of finished stages stay and are used again.
    """
    directory = Path(options.output)
    stages = Stages(directory)
    source = split_spec(options.collection)[0]
    collection = load_collection(source)
    for split in ("train", "test"):
        if split not in collection.splits():
            raise UsageError(f"{source} has no {split} split; the quickstart trains on train and scores on test")
    common = {"collection": source, "python": platform.python_version(), "seed": options.seed}

    def make_bm25(output: Path) -> None:
        queries = [*load_collection(source, "train").queries(), *load_collection(source, "test").queries()]
        write_run(output, bm25_run(lucene, queries, hits=HITS, threads=os.cpu_count() or 1), "bm25")

    lucene = stages.run("lucene-index", common, lambda output: _index(source, output))
    first_stage = stages.run("bm25.trec", {}, make_bm25, after=("lucene-index",))
    bm25 = read_run(first_stage)

    test = load_collection(source, "test")
    qrels = test.qrels()
    chosen = {
        query.query_id
        for query in _sample([q for q in test.queries() if q.query_id in qrels], options.test_queries, options.seed)
    }
    queries = [query for query in test.queries() if query.query_id in chosen]
    qrels = {query_id: qrels[query_id] for query_id in chosen}
    bounded = {"test": options.test_queries, "max_length": options.max_length, "precision": options.precision}

    def dense(name: str, encoder: str, after: tuple[str, ...]) -> Path:
        index = stages.run(
            f"{name}-index",
            {**common, **bounded, "encoder": encoder},
            lambda output: _encode(source, encoder, output, options),
            after=after,
        )
        return stages.run(
            f"{name}.trec",
            bounded,
            lambda output: write_run(output, _search(index, encoder, queries), name),
            after=(f"{name}-index",),
        )

    def train(kind: str, epochs: float) -> Path:
        training = TrainOptions(
            kind=kind,
            collection=source,
            split="train",
            output="",
            backbone=options.backbone,
            method=options.method,
            budget=options.budget,
            negatives=str(first_stage),
            negative_ranks=(1, 50),
            epochs=epochs,
            document_max_length=options.max_length,
            train_max_length=128,
            seed=options.seed,
            precision=options.precision,
            train_queries=options.train_queries or None,
        )
        settings = {key: value for key, value in vars(training).items() if key not in ("output", "negatives")}
        return stages.run(kind, settings, lambda output: _train(training, output), after=("bm25.trec",))

    untuned = dense("dense-untuned", options.backbone, ())
    bi_encoder = train("bi-encoder", options.bi_epochs)
    tuned = dense(f"dense-{options.method}", str(bi_encoder), ("bi-encoder",))
    cross_encoder = train("cross-encoder", options.cross_epochs)
    reranked = stages.run(
        f"rerank-{options.method}.trec",
        {**bounded, "hits": options.rerank_hits},
        lambda output: _rerank(source, cross_encoder, bm25, queries, output, options),
        after=("bm25.trec", "cross-encoder"),
    )
    runs = {
        "bm25": {query_id: bm25.get(query_id, {}) for query_id in chosen},
        "dense-untuned": read_run(untuned),
        f"dense-{options.method}": read_run(tuned),
        f"rerank-{options.method}": read_run(reranked),
    }
    results = {
        "collection": source,
        "documents": collection.document_count(),
        "queries": len(queries),
        **_scores(qrels, runs),
        "trainable_parameters": {
            f"dense-{options.method}": _trained(bi_encoder),
            f"rerank-{options.method}": _trained(cross_encoder),
        },
        "seconds": stages.seconds,
        "reused": stages.reused,
        "settings": vars(options),
        "versions": library_versions(),
    }
    write_json(directory / "results.json", results)
    return results


def _sample(queries: list[Query], count: int, seed: int) -> list[Query]:
    if not count or count >= len(queries):
        return queries
    return random.Random(seed).sample(sorted(queries), count)


def _index(source: str, output: Path) -> None:
    build_index(IndexOptions(source, output, os.cpu_count() or 1))


def _encode(source: str, encoder: str, output: Path, options: MainJobOptions) -> None:
    corpus = Corpus(source)
    encoding = CorpusEncoding(fields=corpus.fields, encode_title=True)
    encode_corpus(_load(encoder, options), corpus, output, encoding, resume=True)


def _load(encoder: str, options: MainJobOptions) -> Any:
    return load_bi_encoder(encoder, document_max_length=options.max_length, precision=options.precision)


def _search(index: Path, encoder: str, queries: list[Query]) -> Run:
    # Imported here because it starts the JVM that Pyserini needs even for dense search.
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


def _train(training: TrainOptions, output: Path) -> None:
    train_retriever(replace(training, output=str(output)))


def _rerank(
    source: str, encoder: Path, first_stage: Run, queries: list[Query], output: Path, options: MainJobOptions
) -> None:
    collection = load_collection(source)
    run = {query.query_id: first_stage[query.query_id] for query in queries if query.query_id in first_stage}
    model = load_cross_encoder(str(encoder), precision=options.precision)
    reranked = rerank_run(
        model,
        run,
        {query.query_id: query.text for query in queries},
        lambda ids: {doc_id: document.contents for doc_id, document in collection.get_documents(ids).items()},
        hits=options.rerank_hits,
    )
    write_run(output, reranked, f"rerank-{options.method}")


def _trained(checkpoint: Path) -> int:
    config = read_retriever_config(checkpoint)
    return sum(config.trainable_parameters.values()) if config else 0


def _scores(qrels: Qrels, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Mean scores of each run, and every tuned run's tests against BM25 and against the untuned encoder."""
    metrics = parse_metrics(METRICS)
    per_query = {name: evaluate(qrels, run, metrics) for name, run in runs.items()}
    tests = []
    for name in list(runs)[2:]:
        for baseline in ("bm25", "dense-untuned"):
            for metric, values in per_query[name].items():
                test = paired_t_test(per_query[baseline][metric], values)
                tests.append({"run": name, "baseline": baseline, "metric": metric, **test._asdict()})
    for test_record, adjusted in zip(tests, holm([float(t["p_value"]) for t in tests]), strict=True):
        test_record["p_value_holm"] = adjusted
    return {
        "runs": {
            name: {metric: mean(values) for metric, values in scores.items()} for name, scores in per_query.items()
        },
        "significance": tests,
    }

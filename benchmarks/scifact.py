"""SciFact as the peers read it, and scores of what they make of it."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.processes import run

COLLECTION, TOPICS = "beir/scifact", "beir/scifact/test"


def corpus_file(directory: Path) -> Path:
    """The corpus as Pyserini's JSONL, with the fields title and text; made where it is not there yet."""
    from iaa_retrieval.collections.loading import load_collection

    path = directory / "corpus" / "documents.jsonl"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            for document in load_collection(COLLECTION).documents():
                record = {"id": document.doc_id, "title": document.title, "text": document.text}
                stream.write(json.dumps(record) + "\n")
    return path


def ndcg(index: Path, encoder: str, directory: Path) -> float:
    """nDCG@10 of searching ``index`` for the test queries with ``encoder`` in fp32."""
    from iaa_retrieval.collections.qrels import read_qrels
    from iaa_retrieval.collections.runs import read_run
    from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics

    output = directory / f"{index.name}.trec"
    command = ["-m", "iaa_retrieval.search", "faiss", "--index", index, "--topics", TOPICS, "--encoder", encoder]
    run([*command, "--hits", "1000", "--remove-query", "--output", output], directory / "search.log")
    metrics = parse_metrics("nDCG@10")
    return mean(evaluate(read_qrels(TOPICS), read_run(output), metrics)["nDCG@10"])


def _shared(directory: Path) -> Path:
    """A folder beside those of the sections, so that what several of them need is made once."""
    shared = directory.parent / "scifact"
    shared.mkdir(exist_ok=True)
    return shared


def training_run(directory: Path) -> Path:
    """BM25's hits for the training queries; made where it is not there yet."""
    directory = _shared(directory)
    path, index = directory / "bm25-train.trec", directory / "lucene"
    if not path.is_file():
        if not index.is_dir():
            run(["-m", "iaa_retrieval.index", "--collection", COLLECTION, "--output", index], directory / "index.log")
        command = ["-m", "iaa_retrieval.search", "lucene", "--bm25", "--index", index, "--topics", "beir/scifact/train"]
        run([*command, "--hits", "100", "--remove-query", "--output", path], directory / "search.log")
    return path


def dense_index(directory: Path) -> Path:
    """A Faiss directory of the corpus; made where it is not there yet."""
    directory = _shared(directory)
    index = directory / "index"
    if not index.is_dir():
        command = ["-m", "iaa_retrieval.encode", "input", "--corpus", COLLECTION, "output", "--embeddings", index]
        command += ["--to-faiss", "encoder", "--encoder", "all-MiniLM-L6-v2"]
        run(command, directory / "encode.log")
    return index

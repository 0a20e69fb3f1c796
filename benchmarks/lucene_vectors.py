"""Lucene's indexes of vectors beside those of Faiss, on SciFact."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import scifact
from benchmarks.processes import MEBIBYTE, run
from benchmarks.section import Round, Section, Value

HITS, EF = 100, 100
# Lucene's scores, (1 + cosine) / 2 in 32 bits, do not tell cosines apart that are as near as this.
SAME = 1e-6
FAISS = {"faiss_flat": "Flat", "faiss_hnsw": "HNSW32,Flat"}
LUCENE = {
    "lucene_flat": ("flat",),
    "lucene_flat_int8": ("flat", "--quantize", "int8"),
    "lucene_hnsw": ("hnsw",),
    "lucene_hnsw_int8": ("hnsw", "--quantize", "int8"),
}
Search = Callable[[np.ndarray], list[list[str]]]


def measure(directory: Path) -> Round:
    """Make each of the same vectors with a command, then search it in this process."""
    from iaa_retrieval.collections.topics import read_topics
    from iaa_retrieval.inference.parquet_vectors import ParquetVectors
    from iaa_retrieval.inference.text_encoder import encode_queries
    from iaa_retrieval.models.bi_encoder import load_bi_encoder

    source = _vectors(directory)
    texts = [query.text for query in read_topics(scifact.TOPICS)]
    queries = encode_queries(load_bi_encoder("all-MiniLM-L6-v2", precision="fp32", device="cpu"), texts)
    windows = ParquetVectors(source).windows()
    cosines = {doc_id: row for part, ids in windows for doc_id, row in zip(ids, part @ queries.T, strict=True)}
    found: Round = {}
    exact: list[list[str]] = []
    forms = {name: ("--to-faiss", "--index-factory", factory) for name, factory in FAISS.items()}
    for name, options in (forms | {name: ("--to-lucene", *words) for name, words in LUCENE.items()}).items():
        output = directory / name
        shutil.rmtree(output, ignore_errors=True)
        command = [
            "-m",
            "iaa_retrieval.encode",
            "input",
            "--corpus",
            source,
            "output",
            "--embeddings",
            output,
            *options,
        ]
        found[f"{name}_build"] = run(command, directory / f"{name}.log").seconds
        found[f"{name}_size"] = sum(path.stat().st_size for path in output.iterdir()) / MEBIBYTE
        search = _faiss(output) if name in FAISS else _lucene(output, options[1])
        search(queries)  # so that what is compiled and cached is so
        start = time.perf_counter()
        hits = search(queries)
        found[f"{name}_queries"] = len(queries) / (time.perf_counter() - start)
        exact = exact or hits
        recalls = [len({*mine} & {*best}) / HITS for mine, best in zip(hits, exact, strict=True)]
        found[f"{name}_recall"] = float(np.mean(recalls))
        found[f"{name}_same"] = 100 * float(np.mean(_same_cosines(hits, exact, cosines)))
    return found


def _same_cosines(hits: list[list[str]], exact: list[list[str]], cosines: dict[str, np.ndarray]) -> list[bool]:
    """For each query, whether the hits are as near as those of an exact search, place by place."""
    return [
        len(mine) == len(best)
        and all(abs(cosines[a][n] - cosines[b][n]) < SAME for a, b in zip(mine, best, strict=True))
        for n, (mine, best) in enumerate(zip(hits, exact, strict=True))
    ]


def _vectors(directory: Path) -> Path:
    """The vectors of SciFact's abstracts as Parquet; made where it is not there yet."""
    import faiss

    from iaa_retrieval.inference.parquet_vectors import write_parquet

    index, output = scifact.dense_index(directory), directory / "vectors"
    if not (output / "retriever.json").is_file():
        flat = faiss.read_index(str(index / "index"))
        ids = (index / "docid").read_text(encoding="utf-8").split()
        output.mkdir(exist_ok=True)
        write_parquet([(flat.reconstruct_n(0, flat.ntotal), ids)], output / "vectors.parquet")
        shutil.copyfile(index / "retriever.json", output / "retriever.json")
    return output


def _faiss(directory: Path) -> Search:
    import faiss

    index = faiss.read_index(str(directory / "index"))
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = EF
    ids = (directory / "docid").read_text(encoding="utf-8").split()
    return lambda queries: [[ids[number] for number in row] for row in index.search(queries, HITS)[1]]


def _lucene(directory: Path, kind: str) -> Search:
    from iaa_retrieval.java import prepare_java
    from iaa_retrieval.pyserini_plugin.lucene_searchers import open_directories_without_network

    prepare_java()
    open_directories_without_network()
    from pyserini.search.lucene import LuceneFlatDenseSearcher, LuceneHnswDenseSearcher

    if kind == "hnsw":
        searcher = LuceneHnswDenseSearcher(str(directory), ef_search=EF)
    else:
        searcher = LuceneFlatDenseSearcher(str(directory))
    threads = os.cpu_count() or 1

    def search(queries: np.ndarray) -> list[list[str]]:
        names = [str(number) for number in range(len(queries))]
        found = searcher.batch_search([json.dumps(row.tolist()) for row in queries], names, k=HITS, threads=threads)
        return [[hit.docid for hit in found[name]] for name in names]

    return search


LABELS = {
    "faiss_flat": "Faiss `Flat`",
    "faiss_hnsw": "Faiss `HNSW32,Flat`",
    "lucene_flat": "Lucene flat",
    "lucene_flat_int8": "Lucene flat, int8",
    "lucene_hnsw": "Lucene HNSW",
    "lucene_hnsw_int8": "Lucene HNSW, int8",
}

SECTION = Section(
    name="lucene_vectors",
    title="Index types of Lucene",
    text=(
        "The vectors of SciFact's 5,183 abstracts (384 numbers each), encoded once and kept as Parquet, made into "
        "indexes by `encode input --corpus VECTORS output --to-faiss` and `--to-lucene` (whole commands, start of "
        f"Python and Java included), and searched for its 300 test queries in one batch, {HITS} hits each, with the "
        f"queries encoded already. A graph has its defaults (Lucene M 16, efConstruction 500) and {EF} candidates in a "
        "search. Recall, and the queries with the same ranking, are against Faiss's flat index; documents may change "
        f"places whose cosines differ by less than {SAME:g}. "
        "Lucene is searched through Pyserini, which takes a query as JSON and makes an object of every hit; Faiss is "
        "searched directly."
    ),
    measure=measure,
    values=tuple(
        Value(
            f"{name}_{key}",
            f"{label}: {what}",
            unit,
            digits,
            limit=100 if (name, key) == ("lucene_flat", "same") else None,
            at_least=True,
        )
        for name, label in LABELS.items()
        for key, what, unit, digits in (
            ("build", "build", "s", 1),
            ("size", "size", "MiB", 1),
            ("recall", f"recall@{HITS}", "", 3),
            ("same", "queries with the same ranking", "%", 1),
            ("queries", "queries per second", "", 0),
        )
        if (name, key) != ("faiss_flat", "same")
    ),
    rounds=2,
    findings=(
        "Lucene's flat index ranks as Faiss's does, and its graph finds about as much as a graph of Faiss; both answer "
        "far fewer queries per second, in a process where Faiss is at hand. What speaks for them is that users of BM25 "
        "need no other tool. `--quantize int8` makes an index larger, as the whole vectors stay beside the bytes, and "
        "changed nothing in what the flat one found; its effect on corpora that do not fit into memory was not "
        "measured. With Pyserini 2.4, as here, these searches run one after another."
    ),
)

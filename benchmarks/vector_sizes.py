"""``python -m benchmarks.vector_sizes``: what cut vectors and shorter numbers cost and lose, for docs/vector-sizes.md.

The vectors are encoded once, whole (``encode ... output --to-parquet``, ``encode queries``). Every index is made of
them as ``encode input --corpus VECTORS output --to-faiss --truncate-dim ... --quantize ...`` makes it.
"""

from __future__ import annotations

import datetime
import pickle
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from benchmarks.vector_sizes_page import sizes_page

RESULTS, PAGE = Path("docs/vector-sizes.json"), Path("docs/vector-sizes.md")
SIZES = (384, 256, 128, 64)
# What an index holds: its name on the page, --quantize and --rescore.
FORMS: dict[str, tuple[str | None, str | None]] = {
    "float32": (None, None),
    "int8": ("int8", None),
    "binary": ("binary", None),
    "binary, re-scored by int8": ("binary", "int8"),
}
METRICS = "nDCG@10 R@100"
HITS = 100
_REPEATS = 5


class Queries(NamedTuple):
    """Encoded queries: their ids, and their whole vectors, float32 [n, d]."""

    ids: list[str]
    vectors: np.ndarray


def read_queries(directory: Path) -> Queries:
    """What ``encode queries`` wrote."""
    with open(directory / "embedding.pkl", "rb") as stream:
        frame = pickle.load(stream)
    return Queries([str(name) for name in frame["id"]], np.stack(frame["embedding"].to_list()).astype(np.float32))


def measure(
    vectors: Path, queries: Queries, qrels: dict[str, dict[str, int]], sizes: Sequence[int] = SIZES
) -> list[dict[str, Any]]:
    """One row for every size and form: effectiveness, bytes per document in the file, milliseconds per query.

    A document with the id of the query is no hit. A search is of all queries at once, in one thread, the fastest of
    several; hits have the scores that the index gives.
    """
    import faiss

    from iaa_retrieval.inference.converting import convert_vectors
    from iaa_retrieval.inference.parquet_vectors import ParquetVectors
    from iaa_retrieval.inference.quantization import quantized_factory
    from iaa_retrieval.inference.vector_outputs import FaissOutput
    from iaa_retrieval.models.truncation import cut_array

    encoded = ParquetVectors(vectors)
    assert encoded.config is not None, f"no retriever.json beside {vectors}"
    faiss.omp_set_num_threads(1)
    rows = []
    for size, (form, (quantize, rescore)) in product(sizes, FORMS.items()):
        factory = "Flat" if quantize is None else quantized_factory(quantize, rescore)
        whole = size == encoded.dimension
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "index"
            convert_vectors(encoded, made, FaissOutput(factory), truncate_dim=None if whole else size)
            index = faiss.read_index(str(made / "index"))
            ids = (made / "docid").read_text(encoding="utf-8").split("\n")[:-1]
            bytes_per_document = (made / "index").stat().st_size / len(ids)
        asked = queries.vectors
        asked = asked if whole else cut_array(asked, size, normalize=encoded.config.normalize)
        scores, found = index.search(asked, HITS + 1)
        rows.append(
            {
                "size": size,
                "vectors": form,
                **_effectiveness(queries.ids, ids, scores, found, qrels),
                "bytes": bytes_per_document,
                "milliseconds": _milliseconds(index, asked),
            }
        )
    return rows


def _effectiveness(
    query_ids: Sequence[str],
    ids: Sequence[str],
    scores: np.ndarray,
    found: np.ndarray,
    qrels: dict[str, dict[str, int]],
) -> dict[str, float]:
    from iaa_retrieval.evaluation.metrics import evaluate, mean, parse_metrics

    run = {}
    for query_id, row, values in zip(query_ids, found, scores, strict=True):
        hits = [(ids[n], float(score)) for n, score in zip(row, values, strict=True) if n >= 0 and ids[n] != query_id]
        run[query_id] = dict(hits[:HITS])
    return {name: mean(values) for name, values in evaluate(qrels, run, parse_metrics(METRICS)).items()}


def _milliseconds(index: Any, queries: np.ndarray) -> float:
    """Of one query among many, in the fastest of several searches."""
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        index.search(queries, HITS)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds) / len(queries)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--topics", help="Collection and split, such as beir/scifact/test: its judgments.")
@click.option("--encoder", help="What the page calls the encoder.")
@click.option("--vectors", type=click.Path(path_type=Path), help="Whole vectors (encode ... --to-parquet).")
@click.option("--queries", type=click.Path(path_type=Path), help="Whole queries (encode queries).")
def main(topics: str | None, encoder: str | None, vectors: Path | None, queries: Path | None) -> None:
    """Measure every size and form of one encoder's vectors, save the rows, and write the page; or write it alone."""
    from iaa_retrieval.collections.qrels import read_qrels
    from iaa_retrieval.files import atomic_file, read_json, write_json
    from iaa_retrieval.models.precision import hardware_class
    from iaa_retrieval.models.retriever_config import read_retriever_config
    from iaa_retrieval.versions import library_versions

    results: dict[str, Any] = read_json(RESULTS) if RESULTS.is_file() else {}
    if topics and encoder and vectors and queries:
        config = read_retriever_config(vectors)
        assert config is not None, f"no retriever.json in {vectors}"
        asked = read_queries(queries)
        rows = measure(vectors, asked, dict(read_qrels(topics)))
        results.setdefault(topics, {})[encoder] = {
            "date": datetime.date.today().isoformat(),
            "hardware": hardware_class(),
            "versions": library_versions(),
            "queries": len(asked.ids),
            "document_tokens": config.document_max_length,
            "training": config.training,
            "rows": rows,
        }
        write_json(RESULTS, results)
    with atomic_file(PAGE) as stream:
        stream.write(sizes_page(results))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.vector_sizes")

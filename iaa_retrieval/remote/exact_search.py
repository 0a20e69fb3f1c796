"""Dense search without Faiss, for ``encode input`` and ``search faiss``: all products of documents and queries."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from iaa_retrieval.collections.runs import write_run
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.collections.types import Run
from iaa_retrieval.encode import encoder_section, input_section, output_section
from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.faiss_index import Windows
from iaa_retrieval.inference.vector_outputs import VectorOutput
from iaa_retrieval.jobs.encode import EncodeOptions, encode_documents
from iaa_retrieval.options import build

VECTORS, IDS = "vectors.npy", "docid"
TAG = "iaa_retrieval"
QUERIES_AT_A_TIME = 256


class PlainOutput(VectorOutput):
    """Vectors as one NumPy array, float32 [n, d], and the ids of its rows, a line each."""

    def write(self, windows: Windows, total: int, directory: Path, dimension: int) -> None:
        """See ``VectorOutput``."""
        vectors = np.empty((total, dimension), dtype=np.float32)
        ids: list[str] = []
        for part, names in windows():
            vectors[len(ids) : len(ids) + len(names)] = part
            ids.extend(names)
        np.save(directory / VECTORS, vectors)
        (directory / IDS).write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")


def encode_plainly(words: Sequence[str], device: str) -> None:
    """What ``encode input ... output ... encoder ...`` does, with the vectors as a plain array.

    Args:
        words: the command's, from ``input`` on.
        device: unless the command names one.
    """
    sections = {"input": input_section, "output": output_section, "encoder": encoder_section}
    starts = [*(words.index(name) for name in sections), len(words)]
    values: dict[str, Any] = {}
    for (name, command), (start, end) in zip(sections.items(), itertools.pairwise(starts), strict=True):
        values |= command.make_context(name, list(words[start + 1 : end])).params
    values = {name: value for name, value in values.items() if name not in _STOCK_ONLY}
    values["delimiter"] = values["delimiter"].replace("\\n", "\n")
    if "--device" not in words:
        values["device"] = device
    encode_documents(build(EncodeOptions, values), form=PlainOutput())


_STOCK_ONLY = ("fp16", "multimodal", "use_openai", "rate_limit", "explicit_truncate", "debug")


def search_exactly(words: Sequence[str], device: str, depth: int | None = None) -> None:
    """What ``search faiss`` does in an index that ``encode_plainly`` made, which it need not be a Faiss index for.

    Args:
        words: the command's options.
        depth: hits that are enough, where fewer than ``--hits``.

    Raises:
        UsageError: an option that is not known here.
    """
    from iaa_retrieval.inference.loading import load_for_inference
    from iaa_retrieval.inference.text_encoder import encode_queries

    options = _options_of(words)
    queries = read_topics(options.topics)
    # As Pyserini's search has them: queries in fp32, whatever the documents are in.
    encoder = load_for_inference(
        options.encoder, kind="bi-encoder", precision="fp32", device=device, query_max_length=options.max_length
    )
    vectors = encode_queries(encoder, [query.text for query in queries])
    directory = Path(options.index)
    ids = (directory / IDS).read_text(encoding="utf-8").split("\n")[:-1]  # an id may hold other line ends
    hits = min(options.hits, depth or options.hits)
    # One more, where the query itself may be among them.
    found = _nearest(vectors, np.load(directory / VECTORS), hits + options.remove_query, encoder.device)
    run: Run = {}
    for query, (scores, rows) in zip(queries, found, strict=True):
        ranked = {ids[row]: float(score) for row, score in zip(rows, scores, strict=True)}
        if options.remove_query:
            ranked.pop(query.query_id, None)
        run[query.query_id] = dict(list(ranked.items())[:hits])
    write_run(options.output, run, TAG)


def _nearest(queries: np.ndarray, documents: np.ndarray, hits: int, device: Any) -> Iterator[tuple[Any, Any]]:
    """For each query the largest inner products, best first, and the rows of their documents."""
    import torch

    matrix = torch.from_numpy(documents).to(device).T
    for start in range(0, len(queries), QUERIES_AT_A_TIME):
        part = torch.from_numpy(queries[start : start + QUERIES_AT_A_TIME]).to(device)
        best = torch.topk(part @ matrix, min(hits, len(documents)), dim=1)
        yield from zip(best.values.cpu().numpy(), best.indices.cpu().numpy(), strict=True)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"search faiss on another machine: {message}")


def _options_of(words: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for name in ("--index", "--topics", "--encoder", "--output"):
        parser.add_argument(name, required=True)
    parser.add_argument("--hits", type=int, default=1000)
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--remove-query", action="store_true")
    for name in ("--device", "--threads", "--batch-size"):  # nothing that a score depends on
        parser.add_argument(name)
    return parser.parse_args(list(words))

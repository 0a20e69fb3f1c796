"""``search lucene --dense``: stock Pyserini's search of vectors in Lucene, with our encoders' queries.

A query is its vector there, as a JSON array in the place of its text. So any encoder will do, and stock Pyserini gets
topics that are vectors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iaa_retrieval.collections.topic_files import write_topics
from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.collections.types import Query
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.vector_outputs import require_unit_length
from iaa_retrieval.models.retriever_config import read_retriever_config, require_same_encoder
from iaa_retrieval.pyserini_plugin.index_directories import dimension_of_encoded
from iaa_retrieval.pyserini_plugin.index_guard import require_fitting_index, require_same_class, require_same_size
from iaa_retrieval.pyserini_plugin.search_encoder import load_query_encoder, require_sparse_index
from iaa_retrieval.pyserini_plugin.stock_arguments import StockArguments

if TYPE_CHECKING:
    from iaa_retrieval.inference.cuts import Cuts

BATCH_SIZE = 128
# Pyserini's own, with which a graph gives no more hits than its --ef-search.
_DEFAULT_HITS, _DEFAULT_EF = 1000, 100
# Options that stock ``search.lucene`` does not know; the last one has no value.
_OF_ENCODERS = ("--encoder", "--encoder-class", "--device", "--pooling", "--query-prefix", "--max-length")
_NORM = "--l2-norm"
_MAKE = "make one with: python -m iaa_retrieval.encode ... output --embeddings DIR --to-lucene hnsw ..."


def require_vector_index(arguments: StockArguments) -> None:
    """Refuse an ``--index`` without vectors, or of another kind than is said; a graph is searched for all hits.

    Side effect: unless ``--ef-search`` is given, a graph is searched for as many documents as there shall be hits.

    Raises:
        UsageError: not one of ``--hnsw`` and ``--flat``, or not the right one.
        IaaRetrievalError: no such index, or one without vectors.
    """
    graph = arguments.has("--hnsw")
    if graph == arguments.has("--flat"):
        raise UsageError("--dense needs --hnsw (an index that is a graph) or --flat, and not both")
    require_sparse_index(arguments)
    index = Path(arguments.get("--index") or "")
    local = index.is_dir()
    if local and not has_part(index, ".vec"):
        raise IaaRetrievalError(f"{index} is a Lucene index without vectors; {_MAKE}")
    if local and graph != has_part(index, ".vex"):
        raise UsageError(
            f"--index {index} is {'flat' if graph else 'a graph'}: search it with {'--flat' if graph else '--hnsw'}"
        )
    if graph and not arguments.has("--ef-search"):
        hits = arguments.get("--hits") or ""
        wanted = int(hits) if hits.isdecimal() else _DEFAULT_HITS
        arguments.set("--ef-search", str(max(wanted, _DEFAULT_EF)))


def has_part(index: Path, suffix: str) -> bool:
    """Whether a Lucene index has such files, or their names in the tables of compound files."""
    return any(index.glob(f"*{suffix}")) or any(suffix.encode() in table.read_bytes() for table in index.glob("*.cfe"))


def encode_topics(arguments: StockArguments, folder: Path) -> Cuts | None:
    """Put vectors in the place of the topics' texts, where ``--encoder`` or ``--encoded-queries`` says whose.

    Without either the topics must be vectors already, as for stock Pyserini.

    Args:
        arguments: the stock command's, with ``--topics``; what only our encoders know is taken out.
        folder: for the file of the vectors.

    Returns:
        What was cut of the queries, None where nothing was encoded.

    Raises:
        UsageError: options that contradict each other or the encoder, or topics that are no vectors.
        IaaRetrievalError: the encoder cannot be loaded or did not make the index, a query is not among those encoded,
            or its vector has not unit length.
    """
    encoder_name, encoded = arguments.get("--encoder"), arguments.get("--encoded-queries")
    given = [name for name in ("--encoder", "--encoded-queries", "--onnx-encoder") if arguments.has(name)]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: one of them gives the queries' vectors; leave the other out")
    if encoder_name is None and encoded is None:
        _require_vectors(arguments)
        return None
    if (arguments.get("--topics-format") or "default") != "default":
        raise UsageError(f"--topics-format and {given[0]}: only topics in the default format are encoded")
    queries = read_topics(arguments.get("--topics") or "")
    if encoder_name is not None:
        vectors, cuts = _encode(arguments, encoder_name, queries)
    else:
        vectors, cuts = _look_up(arguments, encoded or "", queries), None
    require_unit_length(vectors, [query.query_id for query in queries], "query")
    path = folder / "vectors.json"
    write_topics(
        path, (Query(query.query_id, json.dumps(row.tolist())) for query, row in zip(queries, vectors, strict=True))
    )
    for option in (*_OF_ENCODERS, "--encoded-queries"):
        arguments.remove(option)
    arguments.remove(_NORM, has_value=False)
    arguments.set("--topics", str(path))
    if not (arguments.has("--batch-size") or arguments.has("--threads")):
        arguments.set("--batch-size", str(BATCH_SIZE))
        arguments.set("--threads", str(os.cpu_count() or 1))
    return cuts


def _require_vectors(arguments: StockArguments) -> None:
    """Refuse topics of texts where nothing encodes them; those that only Pyserini can read are left to it."""
    topics = arguments.get("--topics") or ""
    if arguments.has("--onnx-encoder") or not Path(topics).is_file():
        return
    for query in read_topics(topics):
        if not query.text.lstrip().startswith("["):
            raise UsageError(
                f"query {query.query_id} is no vector (a JSON array); name the --encoder that made the index, or "
                "--encoded-queries"
            )


def _encode(arguments: StockArguments, name: str, queries: Sequence[Query]) -> tuple[np.ndarray, Cuts]:
    encoder = load_query_encoder(arguments)
    if encoder is None:
        raise UsageError(
            f"--encoder {name} needs a class of stock Pyserini, which Lucene's vectors are not searched with; encode "
            "its queries, and name them with --encoded-queries"
        )
    index = arguments.get("--index") or ""
    if Path(index).is_dir():
        require_fitting_index(
            index, encoder.bi_encoder, index_name=f"--index {index}", encoder_name=f"--encoder {name}"
        )
    cuts = encoder.count_cuts("--max-length sets another length")
    return encoder.encode_batch([query.text for query in queries]), cuts


def _look_up(arguments: StockArguments, encoded: str, queries: Sequence[Query]) -> np.ndarray:
    """The vectors of queries that were encoded before, by their texts, as Pyserini finds them."""
    if dimension_of_encoded(encoded) is None:
        raise UsageError(
            f"--encoded-queries {encoded}: there is no such directory (python -m iaa_retrieval.encode queries)"
        )
    index = arguments.get("--index") or ""
    made_by, asked_by = read_retriever_config(index), read_retriever_config(encoded)
    if made_by is not None and asked_by is not None:
        index_name, name = f"--index {index}", f"--encoded-queries {encoded}"
        require_same_class(index_name, made_by.encoder_class, name, asked_by.encoder_class)
        require_same_encoder(index_name, made_by.index_fingerprint, name, asked_by.index_fingerprint)
        require_same_size(index_name, made_by, name, asked_by)
    import pandas

    frame = pandas.read_pickle(Path(encoded) / "embedding.pkl")
    vectors = dict(zip(frame["text"], frame["embedding"], strict=True))
    for query in queries:
        if query.text not in vectors:
            raise IaaRetrievalError(
                f"query {query.query_id} ({query.text[:60]}) is not among the --encoded-queries {encoded}"
            )
    return np.array([vectors[query.text] for query in queries], dtype=np.float32)

"""Faiss indexes of encoded passages, from windows of vectors, in the layout that Pyserini searches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_file
from iaa_retrieval.inference.quantization import RESCORED_PER_HIT

# Vectors that an index with a trained quantiser learns from.
TRAINING_VECTORS = 262_144
# How hard a search looks, where Faiss's own settings (one list; 16 candidates) find far too little: at least at this
# share of the lists, and at so many documents in any case. The latter is what Pyserini asks for unless told otherwise.
SHARE_OF_LISTS = 16
CANDIDATES = 1000

_AT_A_TIME = 65_536

Windows = Callable[[], Iterator[tuple[np.ndarray, Sequence[str]]]]
"""Gives (float32 [n, d], their n ids) window by window; may be called more than once."""

logger = logging.getLogger("iaa_retrieval")


def require_index(dimension: int, factory: str, documents: Iterable[object]) -> None:
    """Refuse, before anything is encoded, an index that could not be made of these documents.

    Args:
        dimension: of the vectors.
        factory: Faiss's description of the index.
        documents: read only as far as needed, and not at all where they can be read but once.

    Raises:
        UsageError: see ``new_index``.
        IaaRetrievalError: the index must learn from more vectors than there are documents.
    """
    needed = _least_vectors(new_index(dimension, factory))
    if needed > 1 and not isinstance(documents, Iterator):
        _require_vectors(sum(1 for _ in islice(documents, needed)), needed, factory)


def new_index(dimension: int, factory: str) -> Any:
    """An empty index of inner products, to which vectors can be added one after the other.

    Raises:
        UsageError: Faiss does not know the description ``factory``, or such an index wants ids of its own, compares
            by something else than inner products, or takes no vectors.
    """
    import faiss

    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UsageError(
            f"--index-factory: Faiss does not know the index {factory!r} for {dimension} dimensions and inner "
            f"products: {_reason(error)}"
        ) from error
    layers = list(_layers(index))
    if any(isinstance(layer, faiss.IndexIDMap) for layer in layers):
        raise UsageError(
            f"--index-factory {factory}: IDMap wants an id with every vector, while Pyserini counts them; leave it out"
        )
    if any(layer.metric_type != faiss.METRIC_INNER_PRODUCT for layer in layers):
        raise UsageError(
            f"--index-factory {factory}: Faiss compares by Euclidean distance in such an index, whatever it is told, "
            "while scores are inner products; choose another"
        )
    if any(layer.d < 1 for layer in layers):
        raise UsageError(f"--index-factory {factory}: no dimension is left of a vector in such an index")
    graphs = [layer.hnsw for layer in layers if isinstance(layer, faiss.IndexHNSW)]
    # Of a graph with fewer links (the lowest level has twice as many), Faiss ends the process.
    if any(faiss.vector_to_array(graph.cum_nneighbor_per_level).max() < 4 for graph in graphs):
        raise UsageError(f"--index-factory {factory}: a graph has at least 2 links per document; choose HNSW32")
    if any(isinstance(layer, faiss.IndexNSG) for layer in layers):
        raise UsageError(
            f"--index-factory {factory}: Faiss builds an NSG graph of all vectors at once, and of few of them not at "
            "all; choose HNSW32"
        )
    for layer in layers:
        lists = faiss.downcast_index(layer.quantizer) if isinstance(layer, faiss.IndexIVF) else None
        if isinstance(lists, faiss.AdditiveCoarseQuantizer):
            made = 1 << lists.aq.tot_bits
            if layer.nlist != made:
                raise UsageError(f"--index-factory {factory}: its quantizer makes {made} lists; write IVF{made}")
        elif lists is not None and _least_vectors(lists) > layer.nlist:
            raise UsageError(
                f"--index-factory {factory}: {layer.nlist} lists are too few for the quantizer that is to choose among "
                f"them, which is made of at least {_least_vectors(lists)}"
            )
    if index.is_trained:
        _try_out(dimension, factory)
    return index


def write_index(windows: Windows, total: int, directory: Path, dimension: int, factory: str) -> None:
    """Write ``directory/index`` and ``directory/docid``, of ``total`` vectors.

    Pyserini searches an inverted file or a graph with the effort that is stored in it, so it is set here.

    Raises:
        UsageError: an index that ``new_index`` refuses.
        IaaRetrievalError: too few vectors to train the index, or it cannot be trained or written.
    """
    import faiss

    index = new_index(dimension, factory)
    needed = _least_vectors(index)
    _require_vectors(total, needed, factory)
    if not index.is_trained:
        _train(index, windows, total, needed, factory)
    _reserve(index, total)
    with atomic_file(directory / "docid") as stream:
        for vectors, ids in windows():
            index.add(vectors)
            stream.writelines(f"{doc_id}\n" for doc_id in ids)
    _set_search_effort(index)
    _warn_of_unreachable(index)
    try:
        faiss.write_index(index, str(directory / "index"))
    except RuntimeError as error:
        raise IaaRetrievalError(f"Faiss cannot write the index into {directory.parent}: {_reason(error)}") from error


def _try_out(dimension: int, factory: str) -> None:
    """Refuse an index that takes no vectors or cannot be written, by doing both with a few."""
    import faiss

    index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    try:
        index.add(np.random.default_rng(0).normal(size=(2, dimension)).astype(np.float32))
        faiss.serialize_index(index)
    except RuntimeError as error:
        raise UsageError(
            f"--index-factory {factory}: Faiss cannot fill or write such an index: {_reason(error)}; choose another"
        ) from error


def _document_layers(index: Any) -> Iterator[Any]:
    """An index and those inside it that hold the documents too: behind transforms, refinement and graphs."""
    import faiss

    index = faiss.downcast_index(index)
    yield index
    for name in ("index", "base_index", "refine_index", "storage"):
        inner = getattr(index, name, None)
        if isinstance(inner, faiss.Index):
            yield from _document_layers(inner)


def _layers(index: Any) -> Iterator[Any]:
    """All layers: those of the documents, and those that choose an inverted file's lists."""
    import faiss

    for layer in _document_layers(index):
        yield layer
        if isinstance(layer, faiss.IndexIVF):
            yield from _document_layers(layer.quantizer)


def _require_vectors(count: int, needed: int, factory: str) -> None:
    if count < needed:
        raise IaaRetrievalError(
            f"--index-factory {factory}: {count} vectors are too few to train this index, which is made of at least "
            f"{needed}; choose a smaller one, or Flat"
        )


def _least_vectors(index: Any) -> int:
    """How many vectors an index must be made of: as many as it learns centroids or axes."""
    import faiss

    least = [1]
    for layer in _document_layers(index):
        if layer.is_trained:
            continue
        if isinstance(layer, faiss.IndexIVF):
            least.append(layer.nlist)
        if isinstance(layer, faiss.IndexPreTransform):
            chain: Any = layer.chain
            least += [_axes(chain.at(number)) for number in range(chain.size())]
        if hasattr(layer, "pq"):
            least.append(1 << layer.pq.nbits)
        # Residual quantisers cluster along the principal axes of a vector, or of a part of it.
        residual, parts = getattr(layer, "rq", None), getattr(layer, "prq", None)
        if residual is not None or parts is not None:
            least.append(1 << int(faiss.vector_to_array(layer.aq.nbits).max()))
            least.append(layer.d // (parts.nsplits if parts is not None else 1))
    return max(least)


def _axes(transform: Any) -> int:
    """How many vectors a transform learns from at least."""
    import faiss

    transform = faiss.downcast_VectorTransform(transform)
    if isinstance(transform, faiss.OPQMatrix):
        # It tries its rotation with a product quantiser of eight bits, and ends the process for want of an axis.
        return max(256, int(transform.d_out))
    return int(transform.d_out) if isinstance(transform, (faiss.PCAMatrix, faiss.ITQTransform)) else 1


def _reason(error: RuntimeError) -> str:
    """What Faiss says, without the C++ function and the condition that it puts in front."""
    text = " ".join(str(error).split())
    said = text.rpartition(".cpp:")[2].partition(": ")[2] or text
    return said.rpartition("failed: ")[2].removeprefix("Error: ")


def _set_search_effort(index: Any) -> None:
    """Store how much of the index a search looks at, so that any query can have ``CANDIDATES`` hits."""
    import faiss

    for layer in _layers(index):
        if isinstance(layer, faiss.IndexHNSW):
            layer.hnsw.efSearch = CANDIDATES
        if isinstance(layer, faiss.IndexRefine):
            layer.k_factor = RESCORED_PER_HIT
    for layer in _document_layers(index):
        if not isinstance(layer, faiss.IndexIVF):
            continue
        layer.nprobe = max(-(-layer.nlist // SHARE_OF_LISTS), _lists_that_hold(CANDIDATES, layer))
        lists = faiss.downcast_index(layer.quantizer)
        if isinstance(lists, faiss.IndexHNSW):
            lists.hnsw.efSearch = max(CANDIDATES, layer.nprobe)
        for chooser in _document_layers(lists):
            if isinstance(chooser, faiss.IndexIVF):
                chooser.nprobe = chooser.nlist  # else it finds only some of the lists to look at


def _lists_that_hold(count: int, inverted_file: Any) -> int:
    """How many lists hold ``count`` documents (or all there are), even if they are the smallest ones."""
    sizes = [inverted_file.invlists.list_size(number) for number in range(inverted_file.nlist)]
    held = np.cumsum(np.sort(sizes))
    return int(np.searchsorted(held, min(count, int(held[-1])))) + 1


def _warn_of_unreachable(index: Any) -> None:
    """Say how many documents a graph leads to from nowhere, which happens to equal vectors above all."""
    import faiss

    for layer in _document_layers(index):
        if isinstance(layer, faiss.IndexHNSW):
            lost = layer.ntotal - _reachable(layer.hnsw)
            if lost:
                logger.warning(
                    "%d of %d documents cannot be found in this index: no link of its graph leads to them; more links "
                    "(--index-factory HNSW64) lose fewer, Flat none",
                    *(lost, layer.ntotal),
                )


def _reachable(graph: Any) -> int:
    """To how many documents the lowest level of a graph leads from those that a search can enter it at."""
    import faiss

    levels = faiss.rev_swig_ptr(graph.levels.data(), graph.levels.size())
    offsets = faiss.rev_swig_ptr(graph.offsets.data(), graph.offsets.size()).astype(np.int64)
    neighbors = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
    links = np.arange(graph.nb_neighbors(0))
    seen = levels > 1
    seen[graph.entry_point] = True
    waiting = [np.flatnonzero(seen)]
    while waiting:
        documents = waiting.pop()
        if len(documents) > _AT_A_TIME:
            waiting.append(documents[_AT_A_TIME:])
            documents = documents[:_AT_A_TIME]
        found = neighbors[offsets[documents][:, None] + links].ravel()
        found = found[found >= 0]
        found = np.unique(found[~seen[found]])
        seen[found] = True
        if len(found):
            waiting.append(found)
    return int(seen.sum())


def _reserve(index: Any, total: int) -> None:
    """Make room for all vectors at once; growing by doubling, they would take up to twice the memory."""
    import faiss

    storage = faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index
    if isinstance(storage, faiss.IndexFlatCodes):
        storage.codes.resize(total * storage.code_size)
        storage.codes.clear()  # the room stays


def _train(index: Any, windows: Windows, total: int, needed: int, factory: str) -> None:
    """Train a quantiser on an even sample of all vectors, at least the ``needed`` ones."""
    share = max(1, min(-(-total // TRAINING_VECTORS), total // needed))
    sample = np.concatenate([vectors[::share] for vectors, _ in windows()])
    try:
        index.train(sample)
    except RuntimeError as error:
        raise IaaRetrievalError(
            f"--index-factory {factory}: Faiss cannot train this index on {len(sample)} vectors ({_reason(error)}); "
            "choose another"
        ) from error

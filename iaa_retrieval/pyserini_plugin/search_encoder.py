"""Which encoder a stock search command gets for its queries, and whether the index fits it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.java import require_java_can_open
from iaa_retrieval.models.encoder_classes import OUR_CLASSES, STOCK_CLASSES, pooling_named, stock_class_of
from iaa_retrieval.models.retriever_config import read_retriever_config, require_same_encoder
from iaa_retrieval.prompt_options import typed_prompt
from iaa_retrieval.pyserini_plugin.index_directories import (
    dimension_of_encoded,
    require_dimension,
    require_faiss_index,
    require_lucene_index,
)
from iaa_retrieval.pyserini_plugin.index_guard import (
    cut_as,
    require_fitting_index,
    require_same_class,
    require_same_size,
)
from iaa_retrieval.pyserini_plugin.online_tables import is_prebuilt_index
from iaa_retrieval.pyserini_plugin.stock_arguments import OWN_OPTIONS, StockArguments
from iaa_retrieval.pyserini_plugin.stock_classes import only_class

if TYPE_CHECKING:
    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder


_CLASSES_WITH_LENGTH = ("openai-api", "qwen3")  # the classes to which Pyserini passes --max-length


def require_dense_index(arguments: StockArguments) -> None:
    """Refuse an ``--index`` that is neither a Faiss directory nor a prebuilt index."""
    index = _index(arguments)
    if Path(index).exists():
        require_faiss_index(index, binary=(arguments.get("--searcher") or "").lower() == "bpr")
    else:
        _require_prebuilt_index(index)


def require_sparse_index(arguments: StockArguments) -> None:
    """Refuse an ``--index`` that is neither a Lucene index which this Java can open nor a prebuilt index."""
    index = _index(arguments)
    if Path(index).exists():
        require_lucene_index(index)
        require_java_can_open(index)
    else:
        _require_prebuilt_index(index)


def _index(arguments: StockArguments) -> str:
    index = arguments.get("--index")
    if index is None:
        raise UsageError("--index is needed: a directory or the name of a prebuilt index")
    return index


def _require_prebuilt_index(index: str) -> None:
    if not is_prebuilt_index(index):
        raise IaaRetrievalError(f"--index {index} is neither a directory nor a prebuilt index of Pyserini")


def load_query_encoder(arguments: StockArguments) -> IaaQueryEncoder | None:
    """Our encoder for ``--encoder``, or None where stock Pyserini shall decide.

    A checkpoint says itself how it pools, and what stands around a query. A plain encoder follows what its files say,
    or with an explicit ``--encoder-class`` that our encoder stands for, Pyserini's settings for that class. Any other
    class, and a hub id that needs one (``encoder_classes.stock_class_of``), are left to Pyserini.

    Its vectors are cut as those of ``--index``, unless ``--truncate-dim`` says how.

    Side effects: ``--encoder-class auto`` is set, so that Pyserini does not guess a class from the path, and the
    options that Pyserini does not know are taken out.

    Raises:
        UsageError: an option contradicts the checkpoint, or has no effect on the queries.
        IaaRetrievalError: it cannot be loaded.
    """
    name, stock_class = arguments.get("--encoder"), arguments.get("--encoder-class")
    own = _take_own_options(arguments)
    if name is None:
        _require_none_of(own, "queries that are encoded already")
        if arguments.has("--max-length"):
            raise UsageError("--max-length has no effect on queries that are encoded already; leave it out")
        return None
    if stock_class not in (None, *OUR_CLASSES, *STOCK_CLASSES):
        _require_none_of(own, f"an encoder of class {stock_class}")
        return None  # stock Pyserini says which it has
    needed = stock_class_needed(arguments)
    if needed is not None:
        _require_none_of(own, f"Pyserini's encoder class {needed}")
        if arguments.has("--max-length") and needed not in _CLASSES_WITH_LENGTH:
            raise UsageError(f"--max-length has no effect on Pyserini's encoder class {needed}; leave it out")
        return None
    if arguments.has("--tokenizer"):
        raise UsageError(f"--tokenizer contradicts --encoder {name}, which has its own; leave it out")
    from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder

    encoder = IaaQueryEncoder(
        name,
        device=arguments.get("--device") or "cpu",
        pooling=pooling_named(arguments.get("--pooling") or None),
        l2_norm=True if arguments.has("--l2-norm") else None,
        prefix=arguments.get("--query-prefix"),
        prompt=own.prompt,
        prompt_name=own.prompt_name,
        append_eos=own.append_eos,
        max_length=_whole_number(arguments, "--max-length"),
        truncate_dim=own.truncate_dim,
        encoder_class=stock_class,
    )
    index = arguments.get("--index") or ""
    if Path(index).is_dir():
        encoder.bi_encoder = cut_as(index, encoder.bi_encoder)
    arguments.set("--encoder-class", "auto")
    return encoder


class _OwnOptions(NamedTuple):
    """What only our encoders know of a search's options."""

    prompt: str | None
    prompt_name: str | None
    append_eos: bool
    truncate_dim: int | None


def _take_own_options(arguments: StockArguments) -> _OwnOptions:
    """These options, which are no longer among the arguments then."""
    prompt = arguments.get("--query-prompt")
    own = _OwnOptions(
        None if prompt is None else typed_prompt(prompt),
        arguments.get("--query-prompt-name"),
        arguments.has("--append-eos"),
        _whole_number(arguments, "--truncate-dim"),
    )
    for option in OWN_OPTIONS:
        arguments.remove(option, has_value=option != "--append-eos")
    return own


def _require_none_of(own: _OwnOptions, what: str) -> None:
    given = [option for option, value in zip(OWN_OPTIONS, own, strict=True) if value not in (None, False)]
    if given:
        raise UsageError(f"{', '.join(given)} has no effect on {what}; leave it out")


def stock_class_needed(arguments: StockArguments) -> str | None:
    """The class of stock Pyserini that ``--encoder`` needs under these arguments; None where our encoder does it.

    Raises:
        UsageError: a class of stock Pyserini for a checkpoint of ours.
    """
    return stock_class_of(
        arguments.get("--encoder") or "",
        arguments.get("--encoder-class"),
        explicit_truncate=arguments.has("--explicit-truncate"),
    )


def _whole_number(arguments: StockArguments, option: str) -> int | None:
    value = arguments.get(option)
    try:
        return int(value) if value is not None else None
    except ValueError as error:
        raise UsageError(f"{option} {value} is no whole number") from error


def require_matching_index(arguments: StockArguments, encoder: IaaQueryEncoder | None) -> None:
    """Refuse a Faiss index of another encoder or dimension than the queries'; both sides are named."""
    index, encoded = arguments.get("--index") or "", arguments.get("--encoded-queries")
    pca_model = arguments.get("--pca-model")
    if not Path(index).is_dir():
        return
    index_name, encoder_name = f"--index {index}", f"--encoder {arguments.get('--encoder')}"
    if encoder is not None:
        require_fitting_index(
            index, encoder.bi_encoder, index_name=index_name, encoder_name=encoder_name, pca_model=pca_model
        )
        return
    made_by = read_retriever_config(index)
    name = arguments.get("--encoder")
    if made_by is not None and name is not None:
        needed = stock_class_needed(arguments)
        require_same_class(index_name, made_by.encoder_class, encoder_name, needed or "")
        return
    queries = read_retriever_config(encoded) if encoded is not None else None
    encoded_name = f"--encoded-queries {encoded}"
    if made_by is not None and queries is not None and made_by.fingerprint == queries.fingerprint:
        require_same_size(index_name, made_by, encoded_name, queries)
    if encoded is not None and (dimension := dimension_of_encoded(encoded)) is not None:
        require_dimension(index, encoded_name, dimension, pca_model, index_name=index_name)
    if made_by is not None and queries is not None:
        require_same_class(index_name, made_by.encoder_class, encoded_name, queries.encoder_class)
        require_same_encoder(index_name, made_by.index_fingerprint, encoded_name, queries.index_fingerprint)


@contextmanager
def registered(arguments: StockArguments | None, encoder: IaaQueryEncoder | None) -> Iterator[None]:
    """Make Pyserini take our encoder, which is loaded already, or the class that a hub id needs."""
    name = arguments.get("--encoder") if arguments is not None else None
    if name is None or arguments is None:
        yield
        return
    from pyserini.encode import query_encoder_class_map

    if encoder is not None:
        with only_class(query_encoder_class_map, "auto", lambda **options: encoder):
            yield
        return
    needed = None if arguments.has("--encoder-class") else stock_class_needed(arguments)
    with only_class(query_encoder_class_map, needed):
        yield

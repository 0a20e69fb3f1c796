"""Re-ranking of a run with a cross-encoder, or with a bi-encoder's similarities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from iaa_retrieval.device_options import attention_field, device_field, precision_field
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.jobs.encoder_options import CUT_ADVICE, CUT_ADVICE_IN_PYTHON, OUR_CLASSES, POOLINGS
from iaa_retrieval.jobs.plain_reranker_options import PlainRerankerOptions
from iaa_retrieval.options import Checked, at_least, flag_of, group, one_of, option, share
from iaa_retrieval.prompt_options import append_eos_field, prompt_field, prompt_name_field

if TYPE_CHECKING:
    from iaa_retrieval.collections.base import Collection
    from iaa_retrieval.collections.types import Run
    from iaa_retrieval.models.retriever import Retriever

# How another length is set, of queries and of documents or pairs.
_ADVICE = "--query-max-length sets another length", CUT_ADVICE
_ADVICE_IN_PYTHON = "the argument query_max_length sets another length", CUT_ADVICE_IN_PYTHON

# What is asked for around the texts of a bi-encoder; by these names load_bi_encoder takes it.
_PROMPTS = (
    *("query_prefix", "query_prompt", "query_prompt_name"),
    *("document_prefix", "document_prompt", "document_prompt_name"),
)
BI_ENCODER_ONLY = ("encoder_class", "pooling", "l2_norm", *_PROMPTS, "append_eos")


class _Weight(click.FloatRange):
    """A number, or the word that stands for no interpolation at all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "none":
            return 1.0
        try:
            return super().convert(value, param, ctx)
        except click.UsageError as error:
            self.fail(f"{error.message.rstrip('.')}; give a weight from 0 to 1, or none", param, ctx)


@dataclass(frozen=True, kw_only=True)
class RerankOptions(Checked):
    """One re-ranking; exactly one of ``collection`` and ``index`` gives the documents' texts.

    ``encoder_class``, ``pooling``, ``l2_norm``, ``append_eos`` and what stands around texts are for plain encoders,
    which re-rank by similarity; what is in ``pair``, for re-rankers that are no checkpoints of ours.
    """

    run: str = option(help="First-stage run (TREC format).", type=click.Path(exists=True, dir_okay=False))
    topics: str = option(help="File, collection (SPEC:SPLIT), ir_datasets id or Pyserini topics name.")
    collection: str | None = option(
        None, help="Where the documents' texts are: ir_datasets id, BEIR directory, 'embedded', 'python-packages' ..."
    )
    index: str | None = option(None, help="... or a Lucene index that stores them.")
    encoder: str = option(
        help="Cross-encoder checkpoint, or another's re-ranker (directory or hub id): a classifier with one output, a "
        "Qwen3-Reranker, a monoT5; a bi-encoder re-ranks by its similarities."
    )
    output: str = option(help="Run to write.", type=click.Path(dir_okay=False))
    hits: int = option(100, help="Documents per query.", type=click.IntRange(min=1), check=at_least(1))
    interpolate: float | None = option(
        None,
        help="Weight of the new score against the first stage's, both scaled to [0, 1] per query; none is the new "
        "score alone.",
        default_text="what the checkpoint's training chose, else none",
        type=_Weight(0, 1),
        metavar="WEIGHT|none",
        check=share(one=True),
    )
    max_length: int | None = option(
        None, help="Tokens per pair (of a document, for a bi-encoder).", default_text="the encoder's own"
    )
    query_max_length: int | None = option(None, help="Tokens of a query.", default_text="the encoder's own")
    pair: PlainRerankerOptions = group(PlainRerankerOptions)
    encoder_class: str | None = option(
        None,
        help="Pyserini's settings of that class, instead of a plain bi-encoder's own.",
        check=one_of(*OUR_CLASSES),
    )
    pooling: str | None = option(
        None, help="Only for bi-encoders that do not say it themselves.", check=one_of(*POOLINGS)
    )
    l2_norm: bool = option(False, help="Unit-length vectors, likewise.")
    query_prefix: str | None = option(None, help="Put before every query of a plain bi-encoder, with a space.")
    document_prefix: str | None = option(None, help="The same for documents.", default_text="its own prompts")
    query_prompt: str | None = prompt_field("query")
    query_prompt_name: str | None = prompt_name_field("query")
    document_prompt: str | None = prompt_field("document")
    document_prompt_name: str | None = prompt_name_field("document")
    append_eos: bool = append_eos_field()
    tag: str = option("iaa_retrieval", help="Name of the run inside the file.")
    precision: str = precision_field()
    attn_implementation: str | None = attention_field()
    device: str = device_field()


class _Documents(NamedTuple):
    """What gives the texts of documents by their ids, and what refuses ids that there are not."""

    texts_of: Callable[[Sequence[str]], Mapping[str, str]]
    require: Callable[[Sequence[str]], None]


def rerank_file(options: RerankOptions) -> int:
    """Re-rank a run file into another.

    Args:
        options: what to re-rank, with what.

    Returns:
        The number of queries.

    Raises:
        UsageError: both or none of collection and index, or options that contradict the encoder.
        IaaRetrievalError: a query of the run is not among the topics, or a document not in the collection.
    """
    from iaa_retrieval.collections.lines import check_id
    from iaa_retrieval.collections.loading import load_collection
    from iaa_retrieval.collections.runs import read_run, write_run
    from iaa_retrieval.inference import reranking

    if (options.collection is None) == (options.index is None):
        raise UsageError("the documents' texts come from --collection or from --index; give one of them")
    check_id(options.tag, "--tag")
    run = read_run(options.run)
    queries = _texts_by_id(options.topics)
    _require_queries(run, queries, options.run, options.topics)
    if options.collection:
        documents = _of_collection(load_collection(options.collection), options.run)
    else:
        documents = _of_index(str(options.index))
    _require_documents(run, documents, options.hits)
    reranked = reranking.rerank_run(
        _load(options),
        run,
        queries,
        documents.texts_of,
        hits=options.hits,
        interpolate=options.interpolate,
        cut_advice=_ADVICE,
    )
    write_run(options.output, reranked, options.tag)
    return len(reranked)


# over 60 lines: most of them say what the arguments are
def rerank_run(
    retriever: Retriever | str | Path,
    run: Run | str | Path,
    queries: Mapping[str, str] | str | Path,
    collection: Collection | Mapping[str, str] | str | Path,
    *,
    hits: int = RerankOptions.hits,
    interpolate: float | None = RerankOptions.interpolate,
    max_length: int | None = RerankOptions.max_length,
    query_max_length: int | None = RerankOptions.query_max_length,
    precision: str = RerankOptions.precision,
    device: str = RerankOptions.device,
) -> Run:
    """Score each query's first documents anew, with a cross-encoder or by a bi-encoder's similarities.

    Args:
        retriever: a loaded one, which is used as it is, or the path or name of one.
        run: the first stage: query id -> document id -> score, or a TREC run file.
        queries: query id -> text, for every query of the run; or topics: a file, ``COLLECTION:SPLIT``, an ir_datasets
            id or Pyserini's name of topics.
        collection: where the documents' texts are: a collection, its name or path, or document id -> text.
        hits: documents per query that are scored; those below them are left out.
        interpolate: weight of the new score against the first stage's, from 0 to 1, both scaled to [0, 1] per query;
            at 1 the new score alone, unscaled. None is what the retriever's training chose on its dev queries, or
            else 1.
        max_length: tokens of a pair or, for a bi-encoder, of a document; None is the retriever's own.
        query_max_length: tokens of a query, likewise.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``, of a retriever that is not loaded yet.
        device: ``auto``, ``cpu``, ``cuda:0``, ..., likewise.

    Returns:
        Query id -> document id -> score, higher is more relevant. A cross-encoder's bare scores are logits.

    Raises:
        UsageError: a value out of range, a length that the retriever cannot take, or a name that means nothing.
        IaaRetrievalError: a query of the run is not among the queries, a document is not in the collection, or a score
            is not finite.
    """
    from iaa_retrieval.collections.in_memory import as_collection
    from iaa_retrieval.collections.runs import read_run
    from iaa_retrieval.inference import reranking
    from iaa_retrieval.inference.loading import load_for_inference

    if hits < 1 or (interpolate is not None and not 0 <= interpolate <= 1):
        raise UsageError(f"hits {hits} must be 1 or more, and interpolate {interpolate} lie between 0 and 1")
    found, named_run = (run, "") if isinstance(run, Mapping) else (read_run(run), str(run))
    texts = queries if isinstance(queries, Mapping) else _texts_by_id(queries)
    topics = "the mapping of queries" if isinstance(queries, Mapping) else str(queries)
    _require_queries(found, texts, named_run or "the run", topics)
    documents = _of_collection(as_collection(collection), named_run)
    _require_documents(found, documents, hits)
    if isinstance(retriever, (str, Path)):
        retriever = load_for_inference(str(retriever), precision=precision, device=device)
    return reranking.rerank_run(
        retriever.with_lengths(query=query_max_length, document=max_length),
        found,
        texts,
        documents.texts_of,
        hits=hits,
        interpolate=interpolate,
        cut_advice=_ADVICE_IN_PYTHON,
    )


def _texts_by_id(topics: str | Path) -> dict[str, str]:
    from iaa_retrieval.collections.topics import read_topics

    return {query.query_id: query.text for query in read_topics(topics)}


def _require_queries(run: Run, queries: Mapping[str, str], named_by: str, topics: str) -> None:
    unknown = [query_id for query_id in run if query_id not in queries]
    if unknown:
        raise IaaRetrievalError(
            f"{named_by} has query {unknown[0]}, which {topics} does not have ({len(unknown)} such queries)"
        )


def _require_documents(run: Run, documents: _Documents, hits: int) -> None:
    """Look up all that will be scored, where that takes several look-ups, of which a later one could fail."""
    from iaa_retrieval.collections.runs import rank
    from iaa_retrieval.inference.reranking import CHUNK_TEXTS

    top = [doc_id for scores in run.values() for doc_id, _ in rank(scores)[:hits]]
    if len(top) > CHUNK_TEXTS:  # else the only look-up comes before anything is scored
        documents.require(list(dict.fromkeys(top)))


def _load(options: RerankOptions) -> Retriever:
    """A plain encoder has no head to score pairs with, so anything but a re-ranker re-ranks by similarity."""
    from iaa_retrieval.inference.loading import load_for_inference
    from iaa_retrieval.models.cross_encoder import CrossEncoder
    from iaa_retrieval.models.kinds import kind_of

    pair = options.pair.settings
    kind = kind_of(options.encoder, pair)
    settings: dict[str, Any]
    if kind == CrossEncoder.kind:
        meaningless = [flag_of(name) for name in BI_ENCODER_ONLY if getattr(options, name)]
        if meaningless:
            raise UsageError(f"{', '.join(meaningless)} is for bi-encoders, but {options.encoder} is a cross-encoder")
        settings = {"max_length": options.max_length, "pair": pair}
    else:
        if pair.given:
            raise UsageError(
                f"--head and --pair-... are for re-rankers of pairs, but {options.encoder} is a bi-encoder"
            )
        settings = {
            "encoder_class": options.encoder_class,
            "pooling": options.pooling,
            "normalize": options.l2_norm or None,
            **{name: getattr(options, name) for name in _PROMPTS},
            "append_eos": options.append_eos,
            "document_max_length": options.max_length,
        }
    model: Retriever = load_for_inference(
        options.encoder,
        kind=kind,
        query_max_length=options.query_max_length,
        precision=options.precision,
        device=options.device,
        attn_implementation=options.attn_implementation,
        **settings,
    )
    return model


def _of_collection(collection: Collection, run: str) -> _Documents:
    """The documents of a collection, called for by the file ``run``."""

    def texts(ids: Sequence[str]) -> dict[str, str]:
        found = collection.find_documents(ids)
        collection.require_documents(ids, found, run)
        return {doc_id: document.contents for doc_id, document in found.items()}

    def require(ids: Sequence[str]) -> None:
        missing = set(collection.missing_documents(ids))
        collection.require_documents(ids, set(ids) - missing, run)

    return _Documents(texts, require)


def _of_index(directory: str) -> _Documents:
    """The same with the stored documents of a Lucene index (made with ``--storeRaw`` or ``--storeContents``)."""
    from iaa_retrieval.pyserini_plugin.index_directories import open_lucene_index, require_lucene_index
    from iaa_retrieval.pyserini_plugin.rerankers import stored_text

    require_lucene_index(directory)
    searcher = open_lucene_index(directory)

    def stored(doc_id: str) -> Any:
        document = searcher.doc(doc_id)
        if document is None:
            raise IaaRetrievalError(f"document {doc_id} of the run is not in the index {directory}")
        return document

    def texts(ids: Sequence[str]) -> dict[str, str]:
        found = {}
        for doc_id in ids:
            document = stored(doc_id)
            raw, contents = document.raw(), document.contents()
            if raw is None and contents is None:
                raise IaaRetrievalError(
                    f"--index {directory} stores no text of its documents (such as {doc_id}); give --collection, or an "
                    "index made with: python -m iaa_retrieval.index"
                )
            found[doc_id] = stored_text(raw, contents, doc_id)
        return found

    def require(ids: Sequence[str]) -> None:
        for doc_id in ids:
            stored(doc_id)

    return _Documents(texts, require)

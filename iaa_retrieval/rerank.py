"""``python -m iaa_retrieval.rerank``: re-rank a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import click

from iaa_retrieval.cli import Verb, device_option, precision_option
from iaa_retrieval.errors import IaaRetrievalError, UsageError

_Texts: TypeAlias = Callable[[Sequence[str]], Mapping[str, str]]
_Check: TypeAlias = Callable[[Sequence[str]], None]

BI_ENCODER_ONLY = ("encoder_class", "pooling", "l2_norm", "query_prefix", "document_prefix")


@dataclass(frozen=True)
class RerankOptions:
    """One re-ranking; exactly one of ``collection`` and ``index`` gives the documents' texts.

    ``encoder_class``, ``pooling``, ``l2_norm`` and the prefixes are for plain encoders, which re-rank by similarity.
    """

    run: str
    topics: str
    encoder: str
    output: str
    collection: str | None = None
    index: str | None = None
    hits: int = 100
    interpolate: float = 1.0
    max_length: int | None = None
    query_max_length: int | None = None
    encoder_class: str | None = None
    pooling: str | None = None
    l2_norm: bool = False
    query_prefix: str | None = None
    document_prefix: str | None = None
    tag: str = "iaa_retrieval"
    precision: str = "auto"
    device: str = "auto"


def rerank(options: RerankOptions) -> int:
    """Re-rank a run file into another and return the number of queries.

    Raises:
        UsageError: both or none of collection and index.
        IaaRetrievalError: a query of the run is not among the topics, or a document not in the collection.
    """
    from iaa_retrieval.collections.lines import check_id
    from iaa_retrieval.collections.runs import rank, read_run, write_run
    from iaa_retrieval.collections.topics import read_topics
    from iaa_retrieval.inference.loading import load_for_inference
    from iaa_retrieval.inference.reranking import CHUNK_TEXTS, rerank_run
    from iaa_retrieval.models.cross_encoder import CrossEncoder
    from iaa_retrieval.models.retriever import Retriever
    from iaa_retrieval.models.retriever_config import read_retriever_config

    if (options.collection is None) == (options.index is None):
        raise UsageError("the documents' texts come from --collection or from --index; give one of them")
    check_id(options.tag, "--tag")
    run = read_run(options.run)
    queries = {query.query_id: query.text for query in read_topics(options.topics)}
    unknown = [query_id for query_id in run if query_id not in queries]
    if unknown:
        raise IaaRetrievalError(
            f"{options.run} has query {unknown[0]}, which {options.topics} does not have ({len(unknown)} such queries)"
        )
    if options.collection:
        texts_of, require_all = _from_collection(options.collection, options.run)
    else:
        texts_of, require_all = _from_index(str(options.index))
    top = [doc_id for scores in run.values() for doc_id, _ in rank(scores)[: options.hits]]
    if len(top) > CHUNK_TEXTS:  # else the only look-up comes before anything is scored
        require_all(list(dict.fromkeys(top)))
    config = read_retriever_config(options.encoder)
    # A plain encoder has no head to score pairs with, so anything but a cross-encoder re-ranks by similarity.
    model: Retriever
    if CrossEncoder.is_kind_of(config):
        meaningless = [f"--{name.replace('_', '-')}" for name in BI_ENCODER_ONLY if getattr(options, name)]
        if meaningless:
            raise UsageError(f"{', '.join(meaningless)} is for bi-encoders, but {options.encoder} is a cross-encoder")
        model = load_for_inference(
            options.encoder,
            max_length=options.max_length,
            query_max_length=options.query_max_length,
            precision=options.precision,
            device=options.device,
        )
    else:
        model = load_for_inference(
            options.encoder,
            encoder_class=options.encoder_class,
            pooling=options.pooling,
            normalize=options.l2_norm or None,
            query_prefix=options.query_prefix,
            document_prefix=options.document_prefix,
            query_max_length=options.query_max_length,
            document_max_length=options.max_length,
            precision=options.precision,
            device=options.device,
        )
    reranked = rerank_run(
        model,
        run,
        queries,
        texts_of,
        hits=options.hits,
        interpolate=options.interpolate,
        cut_advice=("--query-max-length sets another length", "--max-length sets another length"),
    )
    write_run(options.output, reranked, options.tag)
    return len(reranked)


def _from_collection(spec: str, run: str) -> tuple[_Texts, _Check]:
    """What gives the texts of documents of ``run``, and what refuses ids that the collection lacks."""
    from iaa_retrieval.collections.loading import load_collection

    collection = load_collection(spec)

    def texts(ids: Sequence[str]) -> dict[str, str]:
        found = collection.find_documents(ids)
        collection.require_documents(ids, found, run)
        return {doc_id: document.contents for doc_id, document in found.items()}

    def check(ids: Sequence[str]) -> None:
        missing = set(collection.missing_documents(ids))
        collection.require_documents(ids, set(ids) - missing, run)

    return texts, check


def _from_index(directory: str) -> tuple[_Texts, _Check]:
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

    def check(ids: Sequence[str]) -> None:
        for doc_id in ids:
            stored(doc_id)

    return texts, check


@click.command(cls=Verb, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--run",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="First-stage run (TREC format).",
)
@click.option("--topics", required=True, help="File, collection (SPEC:SPLIT), ir_datasets id or Pyserini topics name.")
@click.option("--collection", help="Where the documents' texts are: ir_datasets id, BEIR directory, 'embedded' ...")
@click.option("--index", help="... or a Lucene index that stores them.")
@click.option("--encoder", required=True, help="Cross-encoder checkpoint; a bi-encoder re-ranks by its similarities.")
@click.option("--output", required=True, type=click.Path(dir_okay=False), help="Run to write.")
@click.option("--hits", type=click.IntRange(min=1), default=100, show_default=True, help="Documents per query.")
@click.option(
    "--interpolate",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Weight of the new score against the first stage's, both scaled to [0, 1] per query.",
)
@click.option(
    "--max-length",
    type=int,
    help="Tokens per pair (of a document, for a bi-encoder).  [default: the encoder's own]",
)
@click.option("--query-max-length", type=int, help="Tokens of a query.  [default: the encoder's own]")
@click.option(
    "--encoder-class",
    type=click.Choice(("auto", "sentence-transformers", "contriever")),
    help="Pyserini's settings of that class, instead of a plain bi-encoder's own.",
)
@click.option(
    "--pooling", type=click.Choice(("cls", "mean", "last")), help="Only for bi-encoders that do not say it themselves."
)
@click.option("--l2-norm", is_flag=True, help="Unit-length vectors, likewise.")
@click.option("--query-prefix", help="Put before every query of a plain bi-encoder, with a space.")
@click.option("--document-prefix", help="The same for documents.  [default: its own prompts]")
@click.option("--tag", default="iaa_retrieval", show_default=True, help="Name of the run inside the file.")
@precision_option
@device_option
def main(**values: str) -> None:
    """Re-rank the first hits of a run with a cross-encoder.

    \b
    Example:
      python -m iaa_retrieval.rerank --run bm25.trec --topics beir/scifact/test \\
          --collection beir/scifact --encoder CHECKPOINT --output reranked.trec
    """
    from iaa_retrieval.files import is_stream

    options = RerankOptions(**values)  # type: ignore[arg-type]
    # A run that goes to standard output must stay a run.
    click.echo(f"{options.output}: {rerank(options)} queries", err=is_stream(options.output))


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.rerank")

"""Documents to vectors with a bi-encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, overload

import click

from iaa_retrieval.device_options import attention_field, device_field, precision_field
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.backends import LOCAL, backend_names, get_backend
from iaa_retrieval.jobs.embeddings_options import EmbeddingsOptions, vector_output
from iaa_retrieval.jobs.encoder_options import (
    CUT_ADVICE,
    CUT_ADVICE_IN_PYTHON,
    ENCODER_HELP,
    L2_NORM_HELP,
    OUR_CLASSES,
    POOLING_HELP,
    PYSERINI_POOLINGS,
    STOCK_CLASSES,
)
from iaa_retrieval.notices import warn_once
from iaa_retrieval.options import Checked, NamesOf, at_least, differing, one_of, option
from iaa_retrieval.prompt_options import append_eos_field, asked_around, prefix_field, prompt_field, prompt_name_field

if TYPE_CHECKING:
    import numpy as np

    from iaa_retrieval.collections.base import Collection
    from iaa_retrieval.inference.corpus_encoder import EncodeReport
    from iaa_retrieval.inference.corpus_reader import Corpus
    from iaa_retrieval.inference.vector_outputs import VectorOutput
    from iaa_retrieval.models.bi_encoder import BiEncoder


@dataclass(frozen=True, kw_only=True)
class CorpusOptions(Checked):
    """What to encode."""

    corpus: str = option(
        help="File or folder of documents (Pyserini JSONL, MS MARCO TSV), BEIR directory, ir_datasets id, 'embedded', "
        "'python-packages', or vectors that --to-parquet wrote (a file, or a folder with the files of several shards), "
        "for which the section encoder is left out."
    )
    input_fields: tuple[str, ...] = option(
        (),
        help="Fields of a record, or inside its contents, in order.",
        default_text="title, if it has one, and text or contents",
        flags=("--fields",),
    )
    docid_field: str | None = option(None, help="Field that holds the id.", default_text="id, _id or docid")
    delimiter: str = option("\n", help="What separates the fields inside contents.", default_text="\\n")
    shard_id: int = option(0, help="Encode this part, from 0 ...")
    shard_num: int = option(1, help="... of so many.")


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(Checked):
    """What to encode documents with; None means what the encoder says itself."""

    encoder: str = option(help=ENCODER_HELP)
    encoder_class: str | None = option(
        None,
        help="Pyserini's class; ours are read from the checkpoint, the others run stock Pyserini.",
        check=one_of(*OUR_CLASSES, *STOCK_CLASSES),
    )
    encoder_fields: tuple[str, ...] = option(
        (),
        help="Fields to encode.",
        default_text="text; without input --fields: title text",
        flags=("--fields",),
    )
    batch_size: int = option(
        32,
        help="Texts of full length per batch; shorter ones travel in larger batches.",
        type=click.IntRange(min=1),
        check=at_least(1),
    )
    max_length: int | None = option(None, help="Tokens per document.", default_text="the encoder's own")
    dimension: int | None = option(None, help="Checked against the encoder, which knows it.")
    device: str = device_field()
    precision: str = precision_field()
    attn_implementation: str | None = attention_field()
    add_sep: bool = option(False, help="Title and text as two segments.")
    pooling: str | None = option(None, help=POOLING_HELP, check=one_of(*PYSERINI_POOLINGS))
    l2_norm: bool = option(False, help=L2_NORM_HELP)
    prefix: str | None = prefix_field("document's text", "the model's own prompt")
    document_prompt: str | None = prompt_field("document")
    document_prompt_name: str | None = prompt_name_field("document")
    append_eos: bool = append_eos_field()
    backend: str = option(LOCAL, help="What computes the vectors.", type=NamesOf(backend_names), metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """One corpus encoding, in the sections of the command line."""

    source: CorpusOptions
    target: EmbeddingsOptions
    model: EncoderOptions


class EncodedCorpus(NamedTuple):
    """Documents as vectors in memory.

    Attributes:
        ids: of the documents, n in the order of the corpus.
        vectors: float32 [n, d], the vector of ``ids[i]`` in row i.
    """

    ids: list[str]
    vectors: np.ndarray


def encode_documents(options: EncodeOptions, *, form: VectorOutput | None = None) -> int:
    """Encode a corpus into a directory.

    Args:
        options: what to encode, with what, and where to.
        form: of the vectors, instead of the one that ``options`` names.

    Returns:
        The number of documents.

    Raises:
        IaaRetrievalError: bad input (named by file and line) or work in progress that does not match.
        UsageError: options that contradict each other, the encoder or the corpus.
    """
    from iaa_retrieval.files import require_empty
    from iaa_retrieval.inference import corpus_encoder
    from iaa_retrieval.inference.corpus_reader import Corpus

    source, target, model = options.source, options.target, options.model
    require_empty(target.embeddings, overwrite=target.overwrite)
    form = form or vector_output(target)
    encoder = _load(model, target.truncate_dim)  # first: what is wrong with it is known before a large corpus is opened
    corpus = Corpus(
        source.corpus,
        source.input_fields or None,
        docid_field=source.docid_field,
        delimiter=source.delimiter,
        shard_id=source.shard_id,
        shard_num=source.shard_num,
    )
    fields = _encoded_fields(source, model, corpus)
    if model.dimension not in (None, encoder.dimension):
        raise UsageError(f"--dimension {model.dimension}, but {model.encoder} has {encoder.dimension}; leave it out")
    report = corpus_encoder.encode_corpus(
        encoder,
        corpus,
        target.embeddings,
        corpus_encoder.CorpusEncoding(
            fields=corpus.fields,
            encode_title="title" in fields,
            separate_title=model.add_sep,
            output=form,
            batch_size=model.batch_size,
            backend=model.backend,
        ),
        resume=target.resume,
        overwrite=target.overwrite,
        cut_advice=CUT_ADVICE,
    )
    return report.documents


@overload
def encode_corpus(
    retriever: BiEncoder | str | Path,
    documents: Collection | Mapping[str, str] | str | Path,
    output: None = None,
    *,
    truncate_dim: int | None = ...,
    max_length: int | None = ...,
    batch_size: int = ...,
    backend: str = ...,
    precision: str = ...,
    device: str = ...,
) -> EncodedCorpus: ...


@overload
def encode_corpus(
    retriever: BiEncoder | str | Path,
    documents: Collection | Mapping[str, str] | str | Path,
    output: str | Path,
    *,
    to_faiss: bool = ...,
    index_factory: str = ...,
    to_parquet: bool = ...,
    to_lucene: str | None = ...,
    truncate_dim: int | None = ...,
    max_length: int | None = ...,
    batch_size: int = ...,
    backend: str = ...,
    resume: bool = ...,
    overwrite: bool = ...,
    precision: str = ...,
    device: str = ...,
) -> EncodeReport: ...


# over 60 lines: most of them say what the arguments are
def encode_corpus(
    retriever: BiEncoder | str | Path,
    documents: Collection | Mapping[str, str] | str | Path,
    output: str | Path | None = None,
    *,
    to_faiss: bool = True,
    index_factory: str = EmbeddingsOptions.index_factory,
    to_parquet: bool = EmbeddingsOptions.to_parquet,
    to_lucene: str | None = EmbeddingsOptions.to_lucene,
    truncate_dim: int | None = EmbeddingsOptions.truncate_dim,
    max_length: int | None = EncoderOptions.max_length,
    batch_size: int = EncoderOptions.batch_size,
    backend: str = EncoderOptions.backend,
    resume: bool = EmbeddingsOptions.resume,
    overwrite: bool = EmbeddingsOptions.overwrite,
    precision: str = EncoderOptions.precision,
    device: str = EncoderOptions.device,
) -> EncodedCorpus | EncodeReport:
    """Encode documents into a directory that Pyserini searches, or small corpora into memory.

    A document is its title and text, joined by a space.

    Args:
        retriever: a loaded bi-encoder, which is used as it is, or the path or name of one.
        documents: a collection, its name or path (as for ``load_collection``), or document id -> text.
        output: the directory to make, whole or not at all; None returns the vectors.
        to_faiss: a Faiss directory, as ``pyserini.search.faiss --index`` reads it; else ``embeddings.jsonl``.
        index_factory: Faiss's description of the index, such as ``HNSW32,Flat``; scores are inner products.
        to_parquet: one Parquet file (``docid``, ``vector``) instead of a Faiss directory.
        to_lucene: ``hnsw`` or ``flat``: such a Lucene index of vectors instead of a Faiss directory; needs Java.
        truncate_dim: numbers to keep of each vector, the first ones; None is all, or what the retriever says.
        max_length: tokens of a document; None is the retriever's own.
        batch_size: documents of full length at a time; shorter ones travel in larger batches.
        backend: what computes the vectors, by the name under which ``register_backend`` knows it; ``local`` is this
            process.
        resume: continue interrupted work on ``output``, which lies beside it in ``.OUTPUT.encoding``.
        overwrite: discard interrupted work, and replace a finished ``output`` at the end.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``, of a retriever that is not loaded yet.
        device: ``auto``, ``cpu``, ``cuda:0``, ..., likewise.

    Returns:
        With an ``output`` the numbers of ``documents``, of those ``resumed`` and of those that are ``empty``; else
        ``ids`` and ``vectors``, float32 [n, d].

    Raises:
        UsageError: a name that means nothing, a length that the retriever cannot take, options that contradict each
            other, or interrupted work where neither ``resume`` nor ``overwrite`` is said.
        IaaRetrievalError: not a bi-encoder, no or damaged documents, an ``output`` that is not empty, or a vector that
            is not finite.
    """
    from iaa_retrieval.collections.in_memory import as_collection
    from iaa_retrieval.files import require_empty
    from iaa_retrieval.inference import corpus_encoder
    from iaa_retrieval.inference.corpus_reader import Corpus
    from iaa_retrieval.inference.loading import load_for_inference
    from iaa_retrieval.inference.vectors_in_memory import encode_into_memory

    if batch_size < 1:
        raise UsageError(f"batch_size {batch_size}: at least 1 is needed")
    get_backend(backend)
    target = EmbeddingsOptions(
        embeddings=str(output),
        to_faiss=to_faiss and not to_parquet and to_lucene is None,
        index_factory=index_factory,
        to_parquet=to_parquet,
        to_lucene=to_lucene,
        truncate_dim=truncate_dim,
        resume=resume,
        overwrite=overwrite,
    )
    if output is not None:
        require_empty(output, overwrite=overwrite)
    elif [name for name in differing(target) if name != "truncate_dim"] != ["to_faiss"]:
        raise UsageError("index_factory, to_faiss and its like, resume and overwrite are about an output; name one")
    if isinstance(retriever, (str, Path)):
        retriever = load_for_inference(str(retriever), kind="bi-encoder", precision=precision, device=device)
    encoder = require_bi_encoder(retriever).with_lengths(document=max_length).cut_to(truncate_dim)
    corpus = Corpus(str(documents) if isinstance(documents, (str, Path)) else as_collection(documents))
    encoding = corpus_encoder.CorpusEncoding(
        fields=corpus.fields,
        encode_title=True,
        output=vector_output(target),
        batch_size=batch_size,
        backend=backend,
    )
    if output is None:
        return EncodedCorpus(*encode_into_memory(encoder, corpus, encoding, CUT_ADVICE_IN_PYTHON))
    return corpus_encoder.encode_corpus(
        encoder, corpus, output, encoding, resume=resume, overwrite=overwrite, cut_advice=CUT_ADVICE_IN_PYTHON
    )


def _encoded_fields(source: CorpusOptions, model: EncoderOptions, corpus: Corpus) -> tuple[str, ...]:
    """Which fields of a document are encoded, with a word on titles where Pyserini's default differs."""
    # Fields that are named mean what they mean to Pyserini, which encodes the text alone unless told otherwise.
    fields = model.encoder_fields or (("text",) if source.input_fields else corpus.fields)
    missing = sorted(set(fields) - set(corpus.fields))
    if missing:
        raise UsageError(
            f"the encoder fields {', '.join(missing)} are not among the input fields {', '.join(corpus.fields)}"
        )
    if "title" in source.input_fields and "title" not in fields and not model.encoder_fields:
        warn_once("the title is among the input fields but not encoded; encoder --fields title text encodes it too")
    corpus.announce_titles = not (source.input_fields or model.encoder_fields) and not corpus.is_collection
    return fields


def _load(model: EncoderOptions, truncate_dim: int | None) -> BiEncoder:
    from iaa_retrieval.inference.loading import load_for_inference
    from iaa_retrieval.models.encoder_classes import pooling_named

    return load_for_inference(
        model.encoder,
        kind="bi-encoder",
        encoder_class=model.encoder_class,
        pooling=pooling_named(model.pooling),
        normalize=model.l2_norm or None,
        **asked_around(model, "document", prefix=model.prefix),
        document_max_length=model.max_length,
        truncate_dim=truncate_dim,
        precision=model.precision,
        device=model.device,
        attn_implementation=model.attn_implementation,
    )


def require_bi_encoder(retriever: object) -> BiEncoder:
    """Refuse a loaded retriever that makes no vectors.

    Raises:
        IaaRetrievalError: it is of another kind.
    """
    from iaa_retrieval.models.bi_encoder import BiEncoder

    if not isinstance(retriever, BiEncoder):
        raise IaaRetrievalError(f"a {type(retriever).__name__} makes no vectors; a bi-encoder is needed here")
    return retriever

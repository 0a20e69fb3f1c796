"""Documents to vectors with an encoder class of stock Pyserini: other architectures are its own business."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from iaa_retrieval.errors import IaaRetrievalError, UsageError

if TYPE_CHECKING:
    from iaa_retrieval.jobs.encode import CorpusOptions


def encode_with_stock_class(
    words: Sequence[str],
    encoder: str,
    embeddings: str,
    *,
    encoder_class: str | None,
    guessed: bool,
    source: CorpusOptions | None,
) -> None:
    """Run ``python -m pyserini.encode`` with these arguments in this process.

    Beside what it writes is left which class made it, so that no other searches it.

    Args:
        words: the stock command's arguments.
        encoder: the encoder that they name.
        embeddings: the directory that they name.
        encoder_class: the class that makes the vectors; None where only Pyserini knows.
        guessed: whether the words do not name that class, so that Pyserini must guess it from the encoder's name.
        source: the documents, which it shall read as other encoders do; None leaves that to it.

    Raises:
        UsageError: Pyserini has no such class here.
        IaaRetrievalError: no Java, bad documents, or the encoding failed.
    """
    from iaa_retrieval.java import prepare_java

    prepare_java()
    from pyserini.encode import document_encoder_class_map

    from iaa_retrieval.pyserini_plugin.stock_classes import only_class
    from iaa_retrieval.pyserini_plugin.stock_corpus import corpus_for_stock, with_corpus

    with ExitStack() as held:
        if source is not None:
            read = corpus_for_stock(
                source.corpus, source.input_fields, docid_field=source.docid_field, delimiter=source.delimiter
            )
            path = held.enter_context(read)
            words = words if path == source.corpus else with_corpus(words, path)
        with only_class(document_encoder_class_map, encoder_class if guessed else None):
            _run_stock(words)
    _record_class(embeddings, encoder, encoder_class or "")


def _run_stock(words: Sequence[str]) -> None:
    import runpy

    sys.argv = [sys.argv[0], *words]
    try:
        runpy.run_module("pyserini.encode", run_name="__main__", alter_sys=True)
    except UsageError:
        raise
    except Exception as error:  # anything that stock code or the JVM raises
        reason = str(error) or type(error).__name__
        if isinstance(error, AssertionError) and not str(error):  # how Faiss says that a vector is too short
            reason += "; it takes vectors to have 768 numbers, and --dimension says another length"
        raise IaaRetrievalError(f"stock pyserini.encode failed: {reason}") from error


def _record_class(directory: str, encoder: str, encoder_class: str) -> None:
    from iaa_retrieval.models.backbone import backbone_name
    from iaa_retrieval.models.bi_encoder import BiEncoder
    from iaa_retrieval.models.retriever_config import RetrieverConfig

    if encoder_class and Path(directory).is_dir():
        RetrieverConfig(
            kind=BiEncoder.kind,
            backbone=backbone_name(encoder),
            encoder_class=encoder_class,
            pooling="",
            normalize=False,
        ).save(directory)

"""Pyserini's encoder classes: which of them our encoder stands for, and which one a name means.

Both sides of a search, documents and queries, ask here, so that they decide alike. Nothing of Pyserini is imported.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.models.backbone import looks_like_path
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.models.text_settings import TextSettings, read_text_settings

QWEN3 = "qwen3"  # whatever is pooled at its last token, not of that family alone
# Classes that are a Hugging Face encoder with pooling. Pyserini's settings for them; "auto" takes them from options.
OUR_CLASSES = {
    "auto": TextSettings(),
    "sentence-transformers": TextSettings(pooling="mean", normalize=True),
    "sentence": TextSettings(pooling="mean", normalize=True),  # what pyserini.search.faiss calls it
    "contriever": TextSettings(pooling="mean", normalize=False),
    # Instructions are its prefixes, to the letter. 256 is what Pyserini's commands pass to this class.
    QWEN3: TextSettings(pooling="last", query_length=256, document_length=256, prefix_is_verbatim=True),
}
# Architectures that are Pyserini's own business, in the order in which a name is matched: "cosdpr" and "dkrr-dpr"
# before "dpr".
STOCK_CLASSES = (
    "dkrr",
    "cosdpr",
    "bpr",
    "dpr",
    "tct_colbert",
    "ance",
    "aggretriever",
    "unicoil",
    "splade",
    "openai-api",
    "clip",
    "arctic",
    "uniir",
    "dse",
    "mmeb",
)


def pooling_named(name: str | None) -> str | None:
    """What a pooling is called here that Pyserini's options may call otherwise."""
    return "last" if name == "eos" else name


def stock_class_of(name: str, encoder_class: str | None = None, *, explicit_truncate: bool = False) -> str | None:
    """The class of stock Pyserini that an encoder needs; None where our encoder does it.

    A class that is named decides. Without one, a checkpoint of ours, a directory and the packaged MiniLM are ours
    whatever their name holds. A hub id is ours where the model says in its files how it is used; else a class's
    name that stands in it as a word decides (Pyserini would find "ance" in "enhanced").

    Args:
        name: a path, hub id or short name.
        encoder_class: a class by Pyserini's name, or None.
        explicit_truncate: whether texts shall be cut as only Pyserini's own class ``qwen3`` does it: before the
            special tokens, which come on top of the length.

    Raises:
        UsageError: a class of stock Pyserini for a checkpoint of ours.
    """
    if read_retriever_config(name) is not None:
        if encoder_class in STOCK_CLASSES:
            raise UsageError(f"{name} is a checkpoint of this project, not a {encoder_class} encoder of Pyserini")
        return None
    own = (*STOCK_CLASSES, QWEN3) if explicit_truncate else STOCK_CLASSES
    if encoder_class is not None:
        return encoder_class if encoder_class in own else None
    named = _class_in(name)
    if named not in own:
        return None
    try:
        return None if read_text_settings(name).from_metadata else named
    except IaaRetrievalError:  # it says what only its own class can do
        return named


def settings_of(name: str, encoder_class: str | None = None) -> TextSettings:
    """The settings with which our encoder stands for a plain encoder.

    A class that is named means Pyserini's settings for it, whatever the encoder's files say. Otherwise the files are
    followed, and where a hub id's say nothing, the settings of the class that its name holds.

    Raises:
        UsageError: the encoder needs a class that our encoder does not do.
        IaaRetrievalError: its files say something that cannot be followed.
    """
    stock = stock_class_of(name, encoder_class)
    if stock is not None:
        raise UsageError(
            f"{name} is a {stock} encoder, a class of Pyserini's own that works here only in encode (of documents) "
            "and search faiss"
        )
    if encoder_class is not None:
        if encoder_class not in OUR_CLASSES:
            raise UsageError(f"unknown encoder class {encoder_class!r}; one of {', '.join(OUR_CLASSES)}")
        return replace(OUR_CLASSES[encoder_class], remarks=_left_out_prompts(name, encoder_class))
    settings = read_text_settings(name)
    named = _class_in(name)
    if named is None or settings.from_metadata:
        return settings
    return replace(OUR_CLASSES[named], remarks=settings.remarks)


def _left_out_prompts(name: str, encoder_class: str) -> tuple[str, ...]:
    try:
        settings = read_text_settings(name)
    except IaaRetrievalError:  # what the files say does not count
        return ()
    prompts = {"queries": settings.query_prompt, "documents": settings.document_prompt}
    present = " and ".join(f"{prompt!r} for {texts}" for texts, prompt in prompts.items() if prompt)
    if not present:
        return ()
    return (f"{name} has prompts ({present}), which the encoder class {encoder_class} that was asked for leaves out",)


def _class_in(name: str) -> str | None:
    """The class whose name stands as a word in a hub id; None in a path."""
    if Path(name).is_dir() or looks_like_path(name):
        return None
    for known in (*STOCK_CLASSES, QWEN3, "contriever", "sentence-transformers"):
        if re.search(rf"(?<![a-z]){re.escape(known)}(?![a-z])", name.lower()):
            return known
    return None

"""Which split a training run takes, and whether its name says that it is for something else."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.loading import load_collection, split_spec
from iaa_retrieval.errors import UsageError

LOG = logging.getLogger("iaa_retrieval")

TRAINING_SPLITS = ("train", "training")  # taken when nobody names a split
_TRAINING = {"train", "training"}
_DEV = {"dev", "devel", "development", "val", "valid", "validation"}
_TEST = {"test", "testing", "eval", "evaluation"}


def training_collection(spec: str, split: str | None) -> Collection:
    """The collection with the split to train on: the one that was named, else the one that is called train.

    A split is never guessed to be for training: a collection that only has judgments for testing is refused unless
    they are asked for by name, and then one warning says what that means.

    Raises:
        UsageError: no split was named and none is called train; the message names those there are.
    """
    collection = load_collection(spec, split)
    if split is None and (collection.split_was_chosen or not _has_judgments(collection)):
        available = collection.splits()
        own_name = next((name for name in TRAINING_SPLITS if name in available), None)
        if own_name is None and available:
            raise UsageError(
                f"{split_spec(spec)[0]} has no split called train; it has {', '.join(available)}, and "
                f"--split {available[-1]} trains on that one"
            )
        if own_name is None:  # the collection itself says what is missing when its judgments are read
            return collection
        collection = load_collection(spec, own_name)
    purpose = _purpose(collection, spec)
    if purpose != "training":
        LOG.warning(
            "training on %s, %s",
            f"split {collection.split} of {split_spec(spec)[0]}" if collection.split else collection.name,
            "whose name does not say what its judgments are for"
            if purpose is None
            else f"whose name says that it is for {purpose}: scores on these queries will say nothing",
        )
    return collection


def dev_collection(spec: str, split: str) -> Collection:
    """The collection with the split that chooses the checkpoint; a warning where that is meant for testing."""
    collection = load_collection(spec, split)
    if _purpose(collection, spec) == "testing":
        LOG.warning(
            "the checkpoint is chosen by split %s, whose name says that it is for testing: its scores on these "
            "queries will be too high",
            collection.split or split,
        )
    return collection


def _purpose(collection: Collection, spec: str) -> str | None:
    """What the name of a split says: "training", "development", "testing" or None.

    The last part of a name that says anything counts, so ``msmarco-passage/train/split200-valid`` is for development.
    """
    # The parents of an ir_datasets id belong to its name; those of a directory do not.
    is_path = Path(split_spec(spec)[0]).expanduser().exists()
    name = (collection.split or "") if is_path else collection.name
    for part in reversed(re.split(r"[/:]", name.lower())):
        words = set(re.findall(r"[a-z]+", part))
        for purpose, known in (("testing", _TEST), ("development", _DEV), ("training", _TRAINING)):
            if words & known:
                return purpose
    return None


def _has_judgments(collection: Collection) -> bool:
    """Whether the collection has judgments as it was named, such as ``beir/arguana``, which has no splits."""
    try:
        return bool(collection.qrels())
    except UsageError:
        return False

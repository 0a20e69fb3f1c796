"""What the tests of models and inference share: a tiny collection, and checkpoints really trained on it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

DOCUMENTS = {
    "d0": ("the good book", "the boy read a good book by the water"),
    "d1": ("land", "land and water made the world"),
    "d2": ("a large house", "mother and father live in a large house near the land"),
    "d3": ("", "plants animals and people need water and air"),
    "d4": ("light", "turn off the light"),
    "d5": ("world", "people read about the world and try to change what is here and what is after"),
    "d6": ("hand", "hand"),
    "d7": ("first people", "the first people made a house of land and read the light of the world by hand"),
}
QUERIES = {"q1": "water in the world", "q2": "large house", "q3": "people and animals"}
RELEVANT = {"q1": "d1", "q2": "d2", "q3": "d3"}

# A word-level tokenizer: one token for each of these, so lengths are easy to count.
TEXTS = [
    "water",
    "the boy read a good book by the water",
    "land and water made the world",
    "",
    " ".join(["people need air"] * 12),
    "mother and father live in a large house",
    "water",
]


@dataclass(frozen=True)
class Trained:
    """A checkpoint directory, and the model in memory that it was written from."""

    path: Path
    model: Any


_trained: dict[tuple[Path, str, str], Trained] = {}


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_collection(directory: Path) -> Path:
    """The collection in BEIR layout, with a first-stage run ``run.trec`` beside it."""
    records = [{"_id": key, "title": title, "text": text} for key, (title, text) in DOCUMENTS.items()]
    write_jsonl(directory / "corpus.jsonl", records)
    write_jsonl(directory / "queries.jsonl", [{"_id": key, "text": text} for key, text in QUERIES.items()])
    (directory / "qrels").mkdir()
    judged = "".join(f"{query}\t{document}\t1\n" for query, document in RELEVANT.items())
    (directory / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return directory


def write_first_stage(path: Path) -> Path:
    """Every document for every query, with scores that fall with the document's number."""
    lines = [
        f"{query} Q0 {document} {rank + 1} {20 - rank} first"
        for query in QUERIES
        for rank, document in enumerate(DOCUMENTS)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def contents(doc_id: str) -> str:
    return " ".join(DOCUMENTS[doc_id]).strip()


def trained(kind: str, method: str, backbone: Path) -> Trained:
    """A checkpoint after two steps at a high rate: far enough from its backbone to tell them apart."""
    key = (backbone, kind, method)
    if key not in _trained:
        _trained[key] = _train(kind, method, backbone)
    return _trained[key]


def _train(kind: str, method: str, backbone: Path) -> Trained:
    from iaa_retrieval.training import run
    from iaa_retrieval.training.options import TrainOptions

    folder = backbone.parent / f"{backbone.name}-{kind}-{method}"
    collection = write_collection(folder / "collection")
    kept: list[Any] = []
    write = run.write_checkpoint
    sizes = {"r": 4, "ar": 3} if method.startswith("iaa") else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            run, "write_checkpoint", lambda output, model, *rest: [kept.append(model), write(output, model, *rest)]
        )
        run.train_retriever(
            TrainOptions.of(
                kind=kind,
                collection=str(collection),
                output=str(folder / "checkpoint"),
                backbone=str(backbone),
                method=method,
                negatives=str(write_first_stage(folder / "run.trec")) if kind == "cross-encoder" else None,
                max_steps=2,
                warmup=0.0,
                lr=0.05,
                batch_size=2,
                precision="fp32",
                device="cpu",
                document_max_length=64,
                query_max_length=32,
                **sizes,
            )
        )
    return Trained(folder / "checkpoint", kept[0].eval())


def with_other_settings(checkpoint: Path, directory: Path, **settings: Any) -> Path:
    """A copy of a whole checkpoint with the same weights under other settings."""
    from iaa_retrieval.models.checkpoint import weights_fingerprint
    from iaa_retrieval.models.kinds import fingerprint_of
    from iaa_retrieval.models.retriever_config import read_retriever_config

    shutil.copytree(checkpoint, directory)
    config = read_retriever_config(checkpoint)
    assert config is not None
    config = replace(config, **settings)
    replace(config, fingerprint=fingerprint_of(config, weights_fingerprint(directory))).save(directory)
    return directory

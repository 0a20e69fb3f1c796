"""A small collection in BEIR layout whose queries repeat words of their documents, and a run over it."""

from __future__ import annotations

import json
import random
from pathlib import Path

# All in the vocabulary of the tiny backbones.
_WORDS = (
    "hot word time way many make thing two look more day could go come sound most number who know water call first "
    "people may down side now find new work part take get place made live where after back little round man year "
    "show good name very form great think help low line before turn cause mean move right boy old tell sentence set "
    "three air play small end put home read hand port large spell land high follow act men change light house picture"
)
CONTENT_WORDS = _WORDS.split()
SPLITS = {"train": range(24), "dev": range(24, 32), "test": range(32, 40)}


def write_toy_collection(directory: Path) -> Path:
    """Forty documents of six words; query N is three words of document N, its only relevant one.

    Queries 0-23 are the train split, 24-31 dev, 32-39 test.
    """
    rng = random.Random(7)
    (directory / "qrels").mkdir(parents=True)
    with (
        open(directory / "corpus.jsonl", "w", encoding="utf-8") as corpus,
        open(directory / "queries.jsonl", "w", encoding="utf-8") as queries,
    ):
        for number in range(40):
            words = rng.sample(CONTENT_WORDS, 6)
            corpus.write(json.dumps({"_id": f"d{number}", "title": words[0], "text": " ".join(words[1:])}) + "\n")
            queries.write(json.dumps({"_id": f"q{number}", "text": " ".join(words[:3])}) + "\n")
    for split, numbers in SPLITS.items():
        lines = ["query-id\tcorpus-id\tscore", *(f"q{number}\td{number}\t1" for number in numbers)]
        (directory / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


def write_toy_run(path: Path) -> Path:
    """Eight hits for every query, its relevant document among them."""
    rng = random.Random(11)
    with open(path, "w", encoding="utf-8") as stream:
        for query in range(40):
            others = rng.sample([number for number in range(40) if number != query], 7)
            hits = rng.sample([query, *others], 8)
            for position, document in enumerate(hits, start=1):
                stream.write(f"q{query} Q0 d{document} {position} {10 - position} toy\n")
    return path

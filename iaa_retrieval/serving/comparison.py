"""Several systems side by side for one query: what the page shows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from iaa_retrieval.nearest import did_you_mean
from iaa_retrieval.serving.engine import Engine, Search
from iaa_retrieval.serving.judgments import Judgments
from iaa_retrieval.serving.refusals import BadRequest, UnknownSystem

SHOWN = 3
TEXT_CHARACTERS = 4000  # of a document
SCORE_DECIMALS = 6


def systems_answer(engine: Engine, judgments: Judgments) -> dict[str, Any]:
    """What can be compared, as ``/api/systems`` gives it."""
    config = engine.config
    return {
        "title": config.title,
        "systems": [
            {"name": name, "label": system.label, "description": system.description}
            for name, system in config.systems.items()
        ],
        "shown": config.shown if config.shown is not None else list(config.systems)[:SHOWN],
        "examples": [{"qid": query.query_id, "text": query.text} for query in judgments.examples()],
        "limits": {"hits": config.limits.hits, "query_characters": config.limits.query_characters},
        "judgments": judgments.known,
    }


def compare(engine: Engine, judgments: Judgments, query: str, systems: Sequence[str], hits: int) -> dict[str, Any]:
    """The hits of each system, with their texts and judgments, as ``/api/compare`` gives them.

    Args:
        systems: names of the configuration, in the order to show; one that comes twice is searched once.
        hits: of each.

    Raises:
        UnknownSystem: a name that the configuration does not have.
        QueryTooLong, BadRequest: what was asked for cannot be had.
    """
    engine.require_query(query)
    engine.require_hits(hits)
    names = list(dict.fromkeys(systems))
    known = engine.config.systems
    if not names:
        raise BadRequest("Parameter 'systems' names none")
    for name in names:
        if name not in known:
            raise UnknownSystem(f"no system {name!r}; there are {', '.join(known)}{did_you_mean(name, known)}")
    query_id = judgments.query(query)
    grades = judgments.of(query_id)
    return {
        "query": {"text": query, "qid": query_id},
        "relevant": None if grades is None else sum(grade > 0 for grade in grades.values()),
        "systems": [_column(engine, name, query, hits, grades) for name in names],
    }


def _column(engine: Engine, name: str, query: str, hits: int, grades: Mapping[str, int] | None) -> dict[str, Any]:
    system = engine.config.systems[name]
    began = time.perf_counter()
    found = engine.search(Search(query, system.index, hits, system.checkpoint, system.rerank))
    seconds = time.perf_counter() - began
    texts = engine.texts(system.index, [hit.docid for hit in found])
    return {
        "name": name,
        "label": system.label,
        "milliseconds": round(1000 * seconds, 1),
        "hits": [
            {
                "rank": place,
                "docid": hit.docid,
                "score": round(hit.score, SCORE_DECIMALS),
                "title": texts[hit.docid].title if hit.docid in texts else None,
                "text": _shortened(texts[hit.docid].text) if hit.docid in texts else "",
                "judgment": _judgment(grades, hit.docid),
            }
            for place, hit in enumerate(found, start=1)
        ],
    }


def _judgment(grades: Mapping[str, int] | None, doc_id: str) -> int | None:
    if grades is None or doc_id not in grades:
        return None
    return int(grades[doc_id] > 0)


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS] + " ..."

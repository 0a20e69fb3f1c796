"""The whole service over HTTP: Pyserini's routes with our two parameters, and what the page asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from checkpoints import DOCUMENTS, QUERIES, contents
from served import KEY, PAGES, World
from starlette.testclient import TestClient

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.serving.app import create_app
from iaa_retrieval.serving.config_file import parse_config, with_paths
from iaa_retrieval.serving.engine import Engine, Search
from iaa_retrieval.serving.judgments import Judgments, load_judgments

pytestmark = pytest.mark.usefixtures("same_environment")
LOCAL = "http://127.0.0.1:8081"


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[TestClient]:
    app = create_app(engine, load_judgments(engine.config), PAGES)
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client


def get(client: TestClient, path: str, status: int = 200, **parameters: Any) -> dict[str, Any]:
    answer = client.get(path, params=parameters)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("index", "extras"),
    [
        ("bm25", {}),
        ("tuned", {}),
        ("other", {"checkpoint": "other"}),
        ("untuned", {"checkpoint": "backbone"}),
        ("bm25", {"rerank": "reranker"}),
        ("tuned", {"rerank": "reranker"}),
        ("bm25", {"k1": 0.5, "b": 0.1}),
    ],
)
def test_search(client: TestClient, engine: Engine, index: str, extras: dict[str, Any]) -> None:
    answer = get(client, f"/v1/{index}/search", query=QUERIES["q1"], hits=4, **extras)
    found = engine.search(Search(QUERIES["q1"], index, 4, **extras))
    assert {key: answer[key] for key in ("api", "index", "query")} == {
        "api": "v1",
        "index": index,
        "query": {"text": QUERIES["q1"]},
    }
    assert [list(one) for one in answer["candidates"]] == [["docid", "score", "rank", "doc"]] * len(found)
    for place, (one, hit) in enumerate(zip(answer["candidates"], found, strict=True), start=1):
        assert (one["docid"], one["rank"], one["doc"]) == (hit.docid, place, contents(hit.docid))
        assert one["score"] == round(hit.score, 6)


def test_search_defaults_to_ten_hits(client: TestClient) -> None:
    assert len(get(client, "/v1/tuned/search", query="water")["candidates"]) == len(DOCUMENTS) < 10


def test_forms_of_a_document(client: TestClient) -> None:
    raw = {"id": "d2", "contents": contents("d2")}
    answer = get(client, "/v1/tuned/doc/d2")
    assert answer == {"api": "v1", "index": "tuned", "docid": "d2", "doc": contents("d2")}
    assert json.loads(get(client, "/v1/bm25/doc/d2", parse="false")["doc"]) == raw
    assert get(client, "/v1/bm25/doc/d2", max_doc_length=5)["doc"] == contents("d2")[:5]
    found = get(client, "/v1/bm25/search", query="large house", hits=1, parse="false")["candidates"]
    assert json.loads(found[0]["doc"]) == raw


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/bm25/search", 400, "'query' is required"),
        ("/v1/bm25/search?query=%20", 400, "'query' is required"),
        ("/v1/nothing/search?query=x", 400, "nothing; there are bm25, tuned"),
        ("/v1/bm25/search?query=x&parse=maybe", 400, "'parse' must be 'true' or 'false'"),
        ("/v1/bm25/search?query=x&k1=much&b=1", 400, "'k1' must be a number"),
        ("/v1/bm25/search?query=x&k1=1", 400, "k1 and b must be set together"),
        ("/v1/bm25/search?query=x&max_doc_length=0", 400, "'max_doc_length' must be positive"),
        ("/v1/bm25/search?query=x&max_doc_length=3&parse=false", 400, "requires parse=true"),
        ("/v1/tuned/search?query=x&checkpoint=other", 400, "were made by different encoders"),
        ("/v1/tuned/search?query=x&checkpoint=nothing", 400, "no checkpoint 'nothing'"),
        ("/v1/bm25/search?query=x&rerank=tuned", 400, "does not re-rank"),
        ("/v1/bm25/doc/d99", 404, "d99"),
        ("/v1/nothing/doc/d1", 400, "nothing"),
        ("/v1/bm25", 404, ""),
        ("/somewhere", 404, "nothing at this path"),
        ("/docs", 404, "nothing at this path"),
        ("/api/compare?systems=bm25", 400, "'query' is required"),
        ("/api/compare?query=x", 400, "'systems' names none"),
        ("/api/compare?query=x&systems=bm25,tund", 404, "no system 'tund'; .*; did you mean tuned"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(client: TestClient, path: str, status: int, message: str) -> None:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    (error,) = answer.json().values()
    assert list(answer.json()) == ["error"] and re.search(message, error) and "\n" not in error


def test_only_get(client: TestClient) -> None:
    assert client.post("/v1/bm25/search?query=x").status_code == 405
    assert client.head("/").status_code == 200


def test_systems(client: TestClient) -> None:
    assert get(client, "/api/systems") == {
        "title": "Search",
        "systems": [
            {"name": "bm25", "label": "BM25", "description": ""},
            {"name": "untuned", "label": "Untuned", "description": ""},
            {"name": "tuned", "label": "Tuned", "description": "Vectors."},
            {"name": "reranked", "label": "Re-ranked", "description": ""},
        ],
        "shown": ["bm25", "untuned", "tuned"],
        "examples": [{"qid": key, "text": text} for key, text in QUERIES.items()],
        "limits": {"hits": 100, "query_characters": 1000},
        "judgments": True,
    }


def test_comparison(client: TestClient, engine: Engine) -> None:
    query = f"  {QUERIES['q2']} "
    answer = get(client, "/api/compare", query=query, systems="reranked, bm25,tuned,bm25", hits=3)
    assert answer["query"] == {"text": query, "qid": "q2"}
    assert answer["relevant"] == 1
    assert [(of["name"], of["label"]) for of in answer["systems"]] == [
        ("reranked", "Re-ranked"),
        ("bm25", "BM25"),
        ("tuned", "Tuned"),
    ]
    searches = [Search(query, "bm25", 3, rerank="reranker"), Search(query, "bm25", 3), Search(query, "tuned", 3)]
    for column, search in zip(answer["systems"], searches, strict=True):
        assert column["milliseconds"] >= 0
        found = engine.search(search)
        assert [(hit["docid"], hit["score"]) for hit in column["hits"]] == [
            (hit.docid, round(hit.score, 6)) for hit in found
        ]
        for place, hit in enumerate(column["hits"], start=1):
            title, text = DOCUMENTS[hit["docid"]]
            assert (hit["rank"], hit["title"], hit["text"]) == (place, title or None, text)
            assert hit["judgment"] == (1 if hit["docid"] == "d2" else None)


def test_a_query_that_nobody_judged(client: TestClient) -> None:
    answer = get(client, "/api/compare", query="something else", systems="tuned")
    assert (answer["query"]["qid"], answer["relevant"]) == (None, None)
    assert {hit["judgment"] for hit in answer["systems"][0]["hits"]} == {None}
    assert len(answer["systems"][0]["hits"]) == len(DOCUMENTS)


def test_grades_become_relevant_or_not_and_long_texts_are_cut() -> None:
    from iaa_retrieval.collections.types import Query
    from iaa_retrieval.serving import comparison

    judgments = Judgments([Query("a", "x"), Query("b", " x ")], {"b": {"d1": 2, "d2": 0, "d3": -1}})
    assert judgments.query("x\n") == "b"
    grades = judgments.of("b")
    assert [comparison._judgment(grades, doc_id) for doc_id in ("d1", "d2", "d3", "d4")] == [1, 0, 0, None]
    assert comparison._shortened("x" * 4000) == "x" * 4000
    assert comparison._shortened("x" * 4001) == "x" * 4000 + " ..."


def test_page_health_and_metrics(client: TestClient) -> None:
    page = client.get("/")
    assert (page.content, page.headers["content-type"]) == PAGES["/"]
    assert get(client, "/health") == {"status": "ready", "indexes": 4}
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'iaa_retrieval_requests_total{route="/health",status="200"}' in metrics.text


def test_keys_of_the_configuration(world: World) -> None:
    values = world.values(api_keys=[KEY], indexes={"bm25": str(world.lucene)}, systems={}, checkpoints={})
    engine = Engine(with_paths(parse_config({**values, "backbone": None}), world.folder))
    assert engine.encoders is None
    with TestClient(create_app(engine, Judgments(), PAGES), base_url=LOCAL) as client:
        assert client.get("/api/systems").status_code == 401
        assert client.get("/v1/bm25/search?query=water").status_code == 401
        found = client.get("/v1/bm25/search?query=water", headers={"X-API-Key": KEY})
        assert found.status_code == 200 and found.json()["candidates"]
        systems = client.get("/api/systems", headers={"Authorization": f"Bearer {KEY}"}).json()
        assert (systems["systems"], systems["judgments"], systems["examples"]) == ([], False, [])


@pytest.mark.parametrize("error", [IaaRetrievalError("/secret/path is damaged"), ZeroDivisionError("/secret/path")])
def test_a_failure_inside_says_nothing_of_this_machine(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(search: Search) -> None:
        raise error

    monkeypatch.setattr(engine, "search", fail)
    for path in ("/v1/bm25/search?query=x", "/api/compare?query=x&systems=bm25"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert answer.json() == {"error": "the search failed; the server's log says why"}

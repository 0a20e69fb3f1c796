"""What stands before the routes, with an app behind it that only repeats what it was asked."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from iaa_retrieval.serving.backend import EXTRAS
from iaa_retrieval.serving.config import ServeConfig
from iaa_retrieval.serving.config_file import parse_config
from iaa_retrieval.serving.guard import SECURITY_HEADERS, Guard
from iaa_retrieval.serving.request_metrics import RequestMetrics
from iaa_retrieval.serving.search_queue import SearchQueue

LOCAL = "http://127.0.0.1:8081"
SEARCH = "/v1/bm25/search?query=water"


def settings(**changes: Any) -> ServeConfig:
    return parse_config({"indexes": {"bm25": "anywhere"}, **changes})


def guarded(
    config: ServeConfig, answer: Callable[[], None] = lambda: None, *, any_host: bool = False, base: str = LOCAL
) -> TestClient:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/{path:path}")
    async def everything(request: Request) -> dict[str, Any]:
        def in_thread() -> dict[str, Any]:
            if request.url.path.startswith("/v1/"):
                answer()
            return {"path": request.url.path, **EXTRAS.get()._asdict()}

        return await asyncio.to_thread(in_thread)

    limits = config.limits
    queue = SearchQueue(limits.concurrent, limits.queue, limits.timeout)
    guard = Guard(app, config, queue, RequestMetrics(queue), ["/", "/page.css"], any_host=any_host)
    client = TestClient(guard, base_url=base)
    client.metrics = guard._metrics  # type: ignore[attr-defined]
    return client


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    client = guarded(settings())
    assert client.get("/", headers={"Host": host}).status_code == 200
    assert client.get("/", headers={"Host": f"{host}:8081"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8081", "", "::1"])
def test_other_names_are_refused_on_loopback(host: str) -> None:
    answer = guarded(settings()).get("/health", headers={"Host": host})
    assert answer.status_code == 400
    assert "host_names" in answer.json()["error"]


def test_names_that_are_configured_and_other_hosts_are_answered() -> None:
    named = guarded(settings(host_names=["search.example"]))
    assert named.get("/", headers={"Host": "search.example:443"}).status_code == 200
    assert named.get("/", headers={"Host": "other.example"}).status_code == 400
    assert guarded(settings(api_keys=["k"]), any_host=True, base="http://a.example").get("/").status_code == 200


KEYS = ["first-secret", "second-secret"]


@pytest.mark.parametrize("path", [SEARCH, "/v1/bm25/doc/d1", "/api/systems", "/api/compare?query=x", "/metrics", "/x"])
def test_keys(path: str) -> None:
    client = guarded(settings(api_keys=KEYS))
    refused: list[dict[str, str]] = [
        {},
        {"X-API-Key": "first"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer first-secret2"},
        {"Authorization": "Basic first-secret"},
        {"Authorization": "first-secret"},
    ]
    for headers in refused:
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), headers
        assert "X-API-Key" in answer.json()["error"]
    for key in KEYS:
        assert client.get(path, headers={"X-API-Key": key}).status_code == 200
        assert client.get(path, headers={"Authorization": f"bearer {key}"}).status_code == 200


def test_page_and_health_need_no_key() -> None:
    client = guarded(settings(api_keys=KEYS))
    for path in ("/", "/page.css", "/health"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/bm25/search?query=" + "x" * 1000, 200, ""),
        ("/v1/bm25/search?query=" + "x" * 1001, 413, "1001 characters; this server takes 1000"),
        ("/api/compare?systems=a&query=" + "%C3%A4" * 1001, 413, "1001 characters"),
        (SEARCH + "&hits=100", 200, ""),
        (SEARCH + "&hits=101", 400, "between 1 and 100"),
        (SEARCH + "&hits=0", 400, "between 1 and 100"),
        (SEARCH + "&hits=-1", 400, "between 1 and 100"),
        (SEARCH + "&hits=many", 400, "between 1 and 100"),
        (SEARCH + "&hits=" + "9" * 5000, 400, "between 1 and 100"),
        ("/api/compare?query=x&hits=1000", 400, "between 1 and 100"),
        (SEARCH + "&chekpoint=tuned", 400, "unknown parameter 'chekpoint'; did you mean checkpoint?"),
        ("/v1/bm25/doc/d1?hits=3", 400, "unknown parameter 'hits'; there are parse, max_doc_length"),
        ("/?anything=goes", 200, ""),
    ],
)
def test_limits(path: str, status: int, message: str) -> None:
    answer = guarded(settings()).get(path)
    assert answer.status_code == status, answer.text
    assert message in answer.text


def test_checkpoint_and_reranker_reach_the_thread_that_searches_and_no_other_request() -> None:
    client = guarded(settings())
    answer = client.get(SEARCH + "&checkpoint=tuned&rerank=cross").json()
    assert (answer["checkpoint"], answer["rerank"]) == ("tuned", "cross")
    answer = client.get(SEARCH).json()
    assert (answer["checkpoint"], answer["rerank"]) == (None, None)


def test_headers_of_every_answer() -> None:
    client = guarded(settings(api_keys=KEYS))
    for answer in (client.get("/"), client.get("/api/systems"), client.get("/health")):
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'self'" in client.get("/").headers["content-security-policy"]
    assert client.get("/health").headers["cache-control"] == "no-store"


def test_under_load_everything_is_answered_or_refused_as_promised() -> None:
    """Sixteen clients at an engine that is slow until it is let go: three are answered, the others refused at once."""
    go, started = threading.Event(), threading.Semaphore(0)

    def slow() -> None:
        started.release()
        assert go.wait(60)

    limits = {"concurrent": 1, "queue": 2, "timeout": 60.0}
    with guarded(settings(limits=limits), slow) as client, ThreadPoolExecutor(16) as clients:
        first = clients.submit(client.get, SEARCH)
        assert started.acquire(timeout=60)
        others = [clients.submit(client.get, SEARCH) for _ in range(15)]
        refused = []
        while len(refused) < 13:  # these come back while the engine still stands
            refused = [future for future in others if future.done()]
        assert client.get("/health").status_code == 200  # which does not wait
        text = client.metrics.text()  # type: ignore[attr-defined]
        assert "iaa_retrieval_searches_running 1\n" in text and "iaa_retrieval_searches_waiting 2\n" in text
        go.set()
        answers = [future.result() for future in (first, *others)]
    assert Counter(answer.status_code for answer in answers) == {200: 3, 503: 13}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["error"] == "1 searches are running and 2 waiting; try again later"


def test_metrics_count_answers_by_route_and_status_without_names_that_clients_make_up() -> None:
    client = guarded(settings())
    for path in (SEARCH, SEARCH, SEARCH + "&hits=0", "/v1/bm25/doc/d1", "/made/up", "/made/up/too", "/"):
        client.get(path)
    lines = client.metrics.text().splitlines()  # type: ignore[attr-defined]
    counts = [line for line in lines if line.startswith("iaa_retrieval_requests_total")]
    assert counts == [
        'iaa_retrieval_requests_total{route="/v1/doc",status="200"} 1',
        'iaa_retrieval_requests_total{route="/v1/search",status="200"} 2',
        'iaa_retrieval_requests_total{route="/v1/search",status="400"} 1',
        'iaa_retrieval_requests_total{route="other",status="200"} 2',
        'iaa_retrieval_requests_total{route="page",status="200"} 1',
    ]
    assert 'iaa_retrieval_request_seconds_bucket{route="/v1/search",le="+Inf"} 3' in lines
    assert 'iaa_retrieval_request_seconds_count{route="/v1/search"} 3' in lines


def test_buckets_are_cumulative() -> None:
    metrics = RequestMetrics(SearchQueue(1, 1, 1.0))
    for seconds in (0.001, 0.005, 0.2, 100.0):
        metrics.observe("/v1/search", 200, seconds)
    lines = [line for line in metrics.text().splitlines() if "_bucket" in line]
    assert [int(line.split()[-1]) for line in lines] == [2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4]
    assert 'le="0.25"} 3' in lines[5]
    assert "iaa_retrieval_request_seconds_sum" in metrics.text() and "100.206000" in metrics.text()

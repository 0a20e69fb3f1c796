"""A service with fixed answers, which the search page is tested against: no model, no index."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from iaa_retrieval.serving.page import page_files

INJECTION = "<img src=x onerror=\"document.title='owned'\"><script>document.title = 'owned'</script>"
LONG_TEXT = "Wheels are archives that need no build step. " * 30 + "The end."
JUDGED_QUERY = "how do I build a wheel?"
# By id: title, text, judgment for the judged query.
DOCUMENTS: dict[str, tuple[str | None, str, int | None]] = {
    "d1": (INJECTION, f"{INJECTION} A page about markup.", None),
    "d2": ("Eggs", "The format before wheels.", 0),
    "d3": ("Building a wheel", "Run python -m build; the wheel lies in dist.", 1),
    "d4": ("Wheels at length", LONG_TEXT, None),
    "d5": (None, "A document without a title.", None),
    "d6": ("Back ends", "A build back end makes the wheel.", 1),
    "d7": ("An-id-and-a-title-without-a-break-" * 5, "Nothing here breaks." * 4, None),
}
RANKINGS = {
    "bm25": ["d1", "d2", "d3", "d4", "d5"],
    "untuned": ["d3", "d1", "d6", "d4", "d7"],
    "tuned": ["d6", "d3", "d2", "d1", "d5"],
    "hybrid": [],
}
SYSTEMS = [
    {"name": "bm25", "label": "BM25", "description": "Lucene"},
    {"name": "untuned", "label": "Untuned", "description": "MiniLM as it comes"},
    {"name": "tuned", "label": "Tuned", "description": "MiniLM with an adapter"},
    {"name": "hybrid", "label": "Hybrid", "description": "finds nothing"},
]


def settings() -> dict[str, Any]:
    examples = [{"qid": "q1", "text": JUDGED_QUERY}, *({"qid": f"q{n}", "text": f"example {n}"} for n in range(2, 9))]
    return {
        "title": "Python packages",
        "systems": SYSTEMS,
        "shown": ["bm25", "untuned", "tuned"],
        "examples": examples,
        "limits": {"hits": 100, "query_characters": 1000},
        "judgments": True,
    }


def compare(query: str, names: list[str], count: int) -> dict[str, Any]:
    judged = query == JUDGED_QUERY

    def hit(rank: int, docid: str) -> dict[str, Any]:
        title, text, judgment = DOCUMENTS[docid]
        found = {"rank": rank, "docid": docid, "score": 10 / rank, "title": title, "text": text}
        return {**found, "judgment": judgment if judged else None}

    labels = {str(system["name"]): system["label"] for system in SYSTEMS}
    systems = [
        {
            "name": name,
            "label": labels[name],
            "milliseconds": 12.34,
            "hits": [hit(rank, docid) for rank, docid in enumerate(RANKINGS[name][:count], 1)],
        }
        for name in names
    ]
    # One document that no system finds is relevant, too.
    return {
        "query": {"text": query, "qid": "q1" if judged else None},
        "relevant": 3 if judged else None,
        "systems": systems,
    }


class FakeService:
    """The page and its interface on a free port of this machine, as a context manager.

    ``key`` is asked for where it is set; ``failures`` holds (status, Retry-After or None) of the next searches, which
    fail; while ``open_gate`` is cleared, searches for "slow" wait.
    """

    def __init__(self) -> None:
        self.reset()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def reset(self) -> None:
        self.key: str | None = None
        self.failures: list[tuple[int, str | None]] = []
        self.open_gate = threading.Event()
        self.open_gate.set()

    def __enter__(self) -> FakeService:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, parameters: dict[str, str], key: str | None) -> tuple[int, Any, str | None]:
        """Status, content and Retry-After of a request to the interface."""
        if self.key is not None and key != self.key:
            return 401, {"error": "An API key is needed."}, None
        if path == "/api/systems":
            return 200, settings(), None
        if path != "/api/compare":
            return 404, {"error": f"no such address: {path}"}, None
        if parameters["query"] == "slow":
            self.open_gate.wait(20)
        if self.failures:
            status, retry_after = self.failures.pop(0)
            return status, {"error": f"This search failed with {status}."}, retry_after
        return 200, compare(parameters["query"], parameters["systems"].split(","), int(parameters["hits"])), None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                parameters = {name: values[0] for name, values in parse_qs(address.query).items()}
                retry_after = None
                if address.path in page_files():
                    status = 200
                    content, media_type = page_files()[address.path]
                else:
                    status, value, retry_after = service.answer(address.path, parameters, self.headers["X-API-Key"])
                    content, media_type = json.dumps(value).encode(), "application/json"
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Security-Policy", "default-src 'self'")
                self.send_header("X-Content-Type-Options", "nosniff")
                if retry_after:
                    self.send_header("Retry-After", retry_after)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

"""What stands before every route: the addressed host, keys, limits, the queue, headers and counts."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iaa_retrieval.nearest import did_you_mean
from iaa_retrieval.serving.backend import EXTRAS, Extras
from iaa_retrieval.serving.config import ServeConfig
from iaa_retrieval.serving.request_metrics import RequestMetrics
from iaa_retrieval.serving.search_queue import QueueFull, SearchQueue

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
RETRY_AFTER = "1"  # seconds
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

SEARCH, DOCUMENT, COMPARE, SYSTEMS = "/v1/search", "/v1/doc", "/api/compare", "/api/systems"
HEALTH, METRICS, PAGE, OTHER = "/health", "/metrics", "page", "other"
QUEUED = (SEARCH, DOCUMENT, COMPARE)
OPEN = (HEALTH, PAGE)  # what needs no key
PARAMETERS: dict[str, tuple[str, ...]] = {
    SEARCH: ("query", "hits", "parse", "k1", "b", "max_doc_length", "checkpoint", "rerank"),
    DOCUMENT: ("parse", "max_doc_length"),
    COMPARE: ("query", "systems", "hits"),
}


class Guard:
    """An ASGI app before another one, which answers at once what that one shall not see.

    Args:
        app: has the routes.
        config: with keys, names of hosts and limits.
        queue: of searches.
        metrics: counts every answer.
        pages: paths of the page's files.
        any_host: do not look at the name by which the server is addressed. On loopback it must be one of this
            machine's own or of ``host_names``, else any web page could read answers by a name that it points here.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: ServeConfig,
        queue: SearchQueue,
        metrics: RequestMetrics,
        pages: Iterable[str] = (),
        *,
        any_host: bool = False,
    ) -> None:
        self._app = app
        self._queue = queue
        self._metrics = metrics
        self._limits = config.limits
        self._pages = frozenset(pages)
        self._keys = [key.encode() for key in config.api_keys]
        self._hosts = None if any_host else {name.lower() for name in (*LOOPBACK_NAMES, *config.host_names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route, began, status = self._route(scope["path"]), time.perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                if route != PAGE:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            await self._answer(route, scope, receive, send_with_headers)
        finally:
            self._metrics.observe(route, status, time.perf_counter() - began)

    async def _answer(self, route: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        parameters = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        refusal = (
            self._wrong_host(headers)
            or self._wrong_key(route, headers)
            or self._unknown_parameter(route, parameters)
            or self._over_limits(route, parameters)
        )
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if route not in QUEUED:
            await self._app(scope, receive, send)
            return
        EXTRAS.set(Extras(parameters.get("checkpoint") or None, parameters.get("rerank") or None))
        try:
            async with self._queue.place():
                await self._app(scope, receive, send)
        except QueueFull as error:
            await _refusal(503, str(error), {"Retry-After": RETRY_AFTER})(scope, receive, send)

    def _route(self, path: str) -> str:
        if path in (COMPARE, SYSTEMS, HEALTH, METRICS):
            return path
        if path.startswith("/v1/"):
            return SEARCH if path.endswith("/search") else DOCUMENT
        return PAGE if path in self._pages else OTHER

    def _wrong_host(self, headers: Headers) -> JSONResponse | None:
        if self._hosts is None:
            return None
        name = re.sub(r":\d*$", "", headers.get("host", "")).lower()
        if name in self._hosts:
            return None
        return _refusal(400, "this server is not called by that name; a configuration's host_names may allow it")

    def _wrong_key(self, route: str, headers: Headers) -> JSONResponse | None:
        if not self._keys or route in OPEN:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = [headers.get("x-api-key", ""), token if scheme.lower() == "bearer" else ""]
        # Every key is compared in full, whatever was found before.
        same = [hmac.compare_digest(key, one.strip().encode()) for key in self._keys for one in given]
        if any(same):
            return None
        message = "a valid API key is needed, as X-API-Key or as Authorization: Bearer"
        return _refusal(401, message, {"WWW-Authenticate": "Bearer"})

    def _unknown_parameter(self, route: str, parameters: Mapping[str, str]) -> JSONResponse | None:
        known = PARAMETERS.get(route)
        unknown = [name for name in parameters if known is not None and name not in known]
        if known is None or not unknown:
            return None
        hint = did_you_mean(unknown[0], known) or f"; there are {', '.join(known)}"
        return _refusal(400, f"unknown parameter {unknown[0][:60]!r}{hint}")

    def _over_limits(self, route: str, parameters: Mapping[str, str]) -> JSONResponse | None:
        if route not in (SEARCH, COMPARE):
            return None
        characters = len(parameters.get("query", ""))
        if characters > self._limits.query_characters:
            return _refusal(
                413, f"the query has {characters} characters; this server takes {self._limits.query_characters}"
            )
        hits = parameters.get("hits", "").strip()
        if hits and not (re.fullmatch(r"[0-9]{1,9}", hits) and 1 <= int(hits) <= self._limits.hits):
            return _refusal(400, f"Parameter 'hits' must lie between 1 and {self._limits.hits}")
        return None


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers=dict(headers or {}))

"""The whole service as one ASGI app: Pyserini's routes, those of the page, health and metrics, behind the guard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.serving import guard
from iaa_retrieval.serving.comparison import compare, systems_answer
from iaa_retrieval.serving.engine import Engine
from iaa_retrieval.serving.judgments import Judgments
from iaa_retrieval.serving.pyserini_server import add_v1_routes
from iaa_retrieval.serving.refusals import BadRequest, QueryTooLong, UnknownDocument, UnknownIndex, UnknownSystem
from iaa_retrieval.serving.request_metrics import MEDIA_TYPE, RequestMetrics
from iaa_retrieval.serving.search_queue import SearchQueue

Pages = Mapping[str, tuple[bytes, str]]
"""Path -> content and media type."""

COMPARED_HITS = 10
STATUS = {QueryTooLong: 413, BadRequest: 400, UnknownIndex: 404, UnknownSystem: 404, UnknownDocument: 404}

logger = logging.getLogger("iaa_retrieval")


def create_app(engine: Engine, judgments: Judgments, pages: Pages, *, any_host: bool = False) -> guard.Guard:
    """The service.

    Args:
        engine: everything loaded.
        judgments: queries that it knows.
        pages: the files of its page.
        any_host: see ``Guard``.
    """
    limits = engine.config.limits
    queue = SearchQueue(limits.concurrent, limits.queue, limits.timeout)
    metrics = RequestMetrics(queue)

    @asynccontextmanager
    async def as_many_threads_as_searches(app: FastAPI) -> AsyncIterator[None]:
        with ThreadPoolExecutor(limits.concurrent, thread_name_prefix="search") as pool:
            asyncio.get_running_loop().set_default_executor(pool)
            yield

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=as_many_threads_as_searches)
    _answer_errors(app)
    _add_page(app, pages)
    _add_api(app, engine, judgments)
    _add_operations(app, engine, metrics)
    add_v1_routes(app, engine)
    return guard.Guard(app, engine.config, queue, metrics, pages, any_host=any_host)


def _answer_errors(app: FastAPI) -> None:
    """Every failure is ``{"error": "one line"}``."""

    @app.exception_handler(IaaRetrievalError)
    async def refused(request: Request, error: IaaRetrievalError) -> JSONResponse:
        status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
        if status == 500:
            logger.error("%s: %s", request.url.path, error)
            return JSONResponse({"error": "the search failed; the server's log says why"}, 500)
        return JSONResponse({"error": str(error)}, status)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> JSONResponse:
        message = "there is nothing at this path" if error.status_code == 404 else str(error.detail)
        return JSONResponse({"error": message}, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the search failed; the server's log says why"}, 500)


def _add_page(app: FastAPI, pages: Pages) -> None:
    async def page(request: Request) -> Response:
        content, media_type = pages[request.url.path]
        return Response(content, media_type=media_type)

    for path in pages:
        app.add_route(path, page, methods=["GET", "HEAD"])


def _add_api(app: FastAPI, engine: Engine, judgments: Judgments) -> None:
    """What the page asks for."""
    systems = systems_answer(engine, judgments)

    @app.get(guard.SYSTEMS)
    async def known_systems() -> JSONResponse:
        return JSONResponse(systems)

    @app.get(guard.COMPARE)
    async def compared(query: str = "", systems: str = "", hits: str = "") -> JSONResponse:
        names = [name.strip() for name in systems.split(",") if name.strip()]
        most = int(hits.strip() or COMPARED_HITS)  # the guard lets nothing but numbers pass
        return JSONResponse(await asyncio.to_thread(compare, engine, judgments, query, names, most))


def _add_operations(app: FastAPI, engine: Engine, metrics: RequestMetrics) -> None:
    """Health and metrics; the engine is loaded whole before there is an app, so what answers is ready."""

    @app.get(guard.HEALTH)
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ready", "indexes": len(engine.indexes)})

    @app.get(guard.METRICS)
    async def measured() -> PlainTextResponse:
        return PlainTextResponse(metrics.text(), media_type=MEDIA_TYPE)

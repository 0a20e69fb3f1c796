"""The routes of Pyserini 2.x's REST server, for Pyserini 1.6, which has others: the same parameters and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from iaa_retrieval.serving.backend import Backend
from iaa_retrieval.serving.refusals import BadRequest, UnknownDocument, UnknownIndex

HITS = 10


def v1_router(backend: Backend) -> APIRouter:
    """``/{index}/search`` and ``/{index}/doc/{docid}``."""
    router = APIRouter(tags=["v1"])

    @router.get("/{index:path}/search")
    async def search(request: Request, index: str) -> JSONResponse:
        def answer() -> dict[str, Any]:
            parse, longest = _document_form(request)
            alias = backend.decode_path_segment(index)
            query = request.query_params.get("query") or ""
            found = backend.search(
                query,
                alias,
                _number(request, "hits", int, HITS),
                "",
                parse,
                k1=_number(request, "k1", float, None),
                b=_number(request, "b", float, None),
                max_doc_length=longest,
            )
            return {"api": "v1", "index": alias, "query": {"text": query}, "candidates": found["candidates"]}

        return await _answered(answer)

    @router.get("/{index:path}/doc/{docid}")
    async def document(request: Request, index: str, docid: str) -> JSONResponse:
        def answer() -> dict[str, Any]:
            parse, longest = _document_form(request)
            alias, name = backend.decode_path_segment(index), backend.decode_path_segment(docid)
            found = backend.get_document(name, alias, parse, max_doc_length=longest)
            return {"api": "v1", "index": alias, "docid": name, "doc": found}

        return await _answered(answer)

    return router


async def _answered(answer: Callable[[], dict[str, Any]]) -> JSONResponse:
    try:
        return JSONResponse(await asyncio.to_thread(answer))
    except (BadRequest, UnknownIndex) as error:
        return JSONResponse({"error": str(error)}, 400)
    except UnknownDocument as error:
        return JSONResponse({"error": str(error)}, 404)


def _document_form(request: Request) -> tuple[bool, int | None]:
    """``parse`` and ``max_doc_length``."""
    parse = request.query_params.get("parse", "true").strip().lower()
    if parse not in ("true", "false"):
        raise BadRequest("Parameter 'parse' must be 'true' or 'false'")
    longest: int | None = _number(request, "max_doc_length", int, None)
    if longest is not None and longest < 1:
        raise BadRequest("Parameter 'max_doc_length' must be positive")
    if longest is not None and parse == "false":
        raise BadRequest("Parameter 'max_doc_length' requires parse=true")
    return parse == "true", longest


def _number(request: Request, name: str, kind: type[int] | type[float], default: int | None) -> Any:
    text = request.query_params.get(name, "").strip()
    if not text:
        return default
    try:
        return kind(text)
    except ValueError as error:
        wanted = "an integer" if kind is int else "a number"
        raise BadRequest(f"Parameter {name!r} must be {wanted}") from error

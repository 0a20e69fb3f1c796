"""What the two generations of Pyserini bring of a server: 2.x routes and tools around a backend, 1.6 neither."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI

from iaa_retrieval.errors import UsageError
from iaa_retrieval.java import prepare_java
from iaa_retrieval.pyserini_generations import is_second_generation
from iaa_retrieval.serving.backend import Backend
from iaa_retrieval.serving.engine import Engine
from iaa_retrieval.serving.refusals import UnknownDocument, UnknownIndex


def add_v1_routes(app: FastAPI, engine: Engine) -> None:
    """Put ``/v1/{index}/search`` and ``/v1/{index}/doc/{docid}`` into an app: Pyserini's own where it has them."""
    if is_second_generation():
        prepare_java()
        from pyserini.server.rest.routes.v1 import router

        app.state.search_backend = Backend(engine, pyserini_errors)
    else:
        from iaa_retrieval.serving.v1_routes import v1_router

        router = v1_router(Backend(engine))
    app.include_router(router, prefix="/v1")


def require_mcp() -> None:
    """Refuse Pyserini 1.6, whose MCP tools know no other backend and print among the protocol's own lines.

    Raises:
        UsageError: says which Pyserini has them.
    """
    if not is_second_generation():
        raise UsageError("--mcp serves the tools of Pyserini 2.x (Python 3.12 or newer); the one installed is older")


def mcp_server(engine: Engine) -> Any:
    """Pyserini 2.x's MCP server, its tools on this engine."""
    prepare_java()
    from fastmcp import FastMCP
    from pyserini.server.mcp.tools import register_tools

    server: Any = FastMCP("iaa-retrieval")
    register_tools(server, Backend(engine, pyserini_errors))
    return server


@contextmanager
def pyserini_errors() -> Iterator[None]:
    """Turn the engine's refusals into those that Pyserini 2.x's routes answer with a status of their own."""
    from pyserini.server import errors

    try:
        yield
    except UnknownIndex as error:
        raise errors.IndexNotAvailableError(str(error)) from error
    except UnknownDocument as error:
        raise errors.DocumentNotFoundError(str(error)) from error
    except UsageError as error:
        raise errors.BadSearchRequestError(str(error)) from error

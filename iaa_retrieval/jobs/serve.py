"""What the ``serve`` verb does: load everything that a configuration names, and answer searches until it is ended."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.jobs.quickstart_options import (
    BI_ENCODER,
    CROSS_ENCODER,
    DIRECTORY,
    EMBEDDED,
    INDEX,
    RESULTS,
    UNTUNED_RUN,
    QuickstartOptions,
    dense_run,
    index_of,
)
from iaa_retrieval.jobs.serve_options import ServeOptions
from iaa_retrieval.serving.config import BACKBONE, ServeConfig
from iaa_retrieval.serving.config_file import load_config, parse_config, with_paths

# What serving imports beside the rest; Pyserini brings it, and so does the extra ``serve``.
HTTP_PACKAGES = ("fastapi", "starlette", "uvicorn")
MCP_PACKAGES = ("fastmcp",)

logger = logging.getLogger("iaa_retrieval")


def serve(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT comes, or with ``mcp`` until standard input ends.

    Raises:
        UsageError: a configuration that cannot be meant, or another host than loopback without keys.
        IaaRetrievalError: a package is missing, the port is taken, or something cannot be loaded.
    """
    if options.config is not None and options.quickstart is not None:
        raise UsageError("--config and --quickstart both say what to serve; give one of them")
    _require_packages(HTTP_PACKAGES + (MCP_PACKAGES if options.mcp else ()))
    if options.config is not None:
        config = load_config(options.config)
    else:
        config = quickstart_config(Path(options.quickstart or DIRECTORY))
    if options.mcp:
        _serve_mcp(config, options)
    else:
        _serve_http(config, options)


def quickstart_config(directory: Path) -> ServeConfig:
    """What serves the output of ``quickstart``: BM25, the untuned and the tuned encoder, and the re-ranker.

    Raises:
        UsageError: there is no finished one.
    """
    if not (directory / RESULTS).is_file():
        raise UsageError(
            f"{directory} holds no finished quickstart; run `make demo` or `python -m iaa_retrieval.quickstart` first, "
            "or give --config"
        )
    results = read_json(directory / RESULTS)
    settings = {name: results["settings"][name] for name in asdict(QuickstartOptions())}
    options = QuickstartOptions(**settings)
    tuned = dense_run(options)
    config = parse_config(
        {
            "title": "Python's own documentation" if options.collection == EMBEDDED else str(results["collection"]),
            "backbone": options.backbone,
            "checkpoints": {"bi-encoder": BI_ENCODER, "cross-encoder": CROSS_ENCODER},
            "indexes": {
                "bm25": {"path": INDEX, "index_type": "tf"},
                "untuned": {"path": index_of(UNTUNED_RUN), "index_type": "faiss", "encoder": BACKBONE},
                "tuned": {"path": index_of(tuned), "index_type": "faiss", "encoder": "bi-encoder"},
            },
            "systems": {
                "bm25": {"label": "BM25", "description": "Words in common, by Lucene.", "index": "bm25"},
                "untuned": {
                    "label": f"{Path(options.backbone).name}, untuned",
                    "description": "Vectors of the encoder as it comes.",
                    "index": "untuned",
                },
                "tuned": {
                    "label": f"{Path(options.backbone).name}, {options.method}",
                    "description": f"The same encoder, tuned here with {options.budget} of its parameters.",
                    "index": "tuned",
                },
                "reranked": {
                    "label": "BM25, re-ranked",
                    "description": "The first hits of BM25, scored again by the cross-encoder.",
                    "index": "bm25",
                    "rerank": "cross-encoder",
                },
            },
            "shown": ["bm25", "untuned", "tuned"],
            "collection": f"{results['collection']}:test",
        }
    )
    return with_paths(config, directory.resolve()).model_copy(
        update={"backbone": config.backbone, "collection": config.collection}
    )


def _serve_http(config: ServeConfig, options: ServeOptions) -> None:
    local = _is_loopback(options.host)
    if not local and not config.api_keys:
        raise UsageError(f"--host {options.host} lets other machines in; name api_keys in the file of --config first")
    from iaa_retrieval.serving.app import create_app
    from iaa_retrieval.serving.engine import Engine
    from iaa_retrieval.serving.http_server import serve_http, take_socket
    from iaa_retrieval.serving.judgments import load_judgments
    from iaa_retrieval.serving.page import page_files

    taken = take_socket(options.host, options.port)
    judgments = load_judgments(config)
    engine = Engine(config, precision=options.precision, device=options.device)
    engine.try_out()
    app = create_app(engine, judgments, page_files(), any_host=not local)
    taken.listen()  # who connects from here on is answered
    shown = f"[{options.host}]" if ":" in options.host else options.host
    logger.info("Serving %s at http://%s:%d/ (Ctrl-C ends it)", _named(engine), shown, taken.getsockname()[1])
    serve_http(app, taken)


def _serve_mcp(config: ServeConfig, options: ServeOptions) -> None:
    from iaa_retrieval.serving.engine import Engine
    from iaa_retrieval.serving.pyserini_server import mcp_server, require_mcp

    require_mcp()
    _keep_standard_output()
    engine = Engine(config, precision=options.precision, device=options.device)
    logger.info("Serving %s over MCP on standard input and output", _named(engine))
    mcp_server(engine).run(transport=options.mcp, show_banner=False)


def _named(engine: Any) -> str:
    names = () if engine.encoders is None else engine.encoders.names
    return f"{', '.join(engine.indexes)} with {', '.join(names) or 'no encoder'}"


def _keep_standard_output() -> None:
    """Leave standard output to the protocol: what Java or a library prints goes to standard error."""
    sys.stdout.flush()
    protocol = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(protocol, "w", encoding="utf-8", buffering=1)


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_packages(names: tuple[str, ...]) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise IaaRetrievalError(
            f"serving needs {', '.join(missing)}, which Pyserini should have brought; install with: "
            f"pip install {' '.join(missing)}"
        )

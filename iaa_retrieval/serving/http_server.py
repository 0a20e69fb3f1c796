"""Running the service: a socket that is taken before anything is loaded, and an orderly end."""

from __future__ import annotations

import logging
import signal
import socket
from typing import Any

import uvicorn

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.serving.guard import Guard

GRACE = 30  # seconds that running requests get when the server is told to end

logger = logging.getLogger("iaa_retrieval")


def take_socket(host: str, port: int) -> socket.socket:
    """A socket bound to an address, so that a taken port is known before indexes are opened; 0 takes any port.

    Raises:
        IaaRetrievalError: the address cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise IaaRetrievalError(
            f"cannot serve on {host} port {port}: {error.strerror}; choose another --port"
        ) from error
    return taken


def serve_http(app: Guard, taken: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT comes; what is running then is still answered."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal again when it has ended, so that what stood there before may act too; nothing more
    # shall happen than the end of this function.
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[taken])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    logger.info("Ended.")


def _ignore(number: int, frame: Any) -> None:
    """For a signal that was acted upon already."""

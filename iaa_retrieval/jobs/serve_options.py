"""What the verb ``serve`` can be told; light, for its help."""

from __future__ import annotations

from dataclasses import dataclass

import click

from iaa_retrieval.device_options import PRECISIONS, device_field
from iaa_retrieval.jobs.quickstart_options import DIRECTORY
from iaa_retrieval.options import Check, Checked, one_of, option

STDIO = "stdio"


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Checked):
    """What to serve, and where.

    Attributes:
        config, quickstart: at most one of them; None of both is the default directory of ``quickstart``.
    """

    config: str | None = option(
        None,
        help="YAML with indexes, checkpoints, systems, keys and limits (docs/serving.md).",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE.yaml",
    )
    quickstart: str | None = option(
        None, help="Serve what quickstart built in this directory.", default_text=DIRECTORY, metavar="DIR"
    )
    host: str = option("127.0.0.1", help="Address; another than this machine's own loopback needs api_keys.")
    port: int = option(
        8081,
        help="0 takes any that is free.",
        type=click.IntRange(0, 65535),
        check=Check(lambda value: 0 <= value <= 65535, "between 0 and 65535"),
    )
    mcp: str | None = option(
        None, help="Be an MCP server on standard input and output instead (Pyserini 2.x).", check=one_of(STDIO)
    )
    precision: str = option(
        "fp32", help="Of the backbone and all its checkpoints; search encodes in fp32.", check=one_of(*PRECISIONS)
    )
    device: str = device_field()

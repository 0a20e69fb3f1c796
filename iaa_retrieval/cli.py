"""What every verb's command line shares: one-line errors, ``--debug``, exit codes, verbs loaded on demand."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import click

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.notices import begin_run
from iaa_retrieval.process import prepare_process

VERBS = {
    "train": "Tune a bi-encoder or a cross-encoder.",
    "index": "Build a Lucene (BM25) index of a collection.",
    "encode": "Encode a corpus or queries with a bi-encoder (drop-in for pyserini.encode).",
    "search": "Run Pyserini's faiss, lucene or hybrid search with our encoders.",
    "rerank": "Re-rank a run with a cross-encoder (or a bi-encoder).",
    "export": "Write a checkpoint for another tool: merged, self-contained, sentence-transformers or ONNX.",
    "evaluate": "Score runs against relevance judgments, with significance tests.",
    "analyze": "Show how tuning learns: convergence, learning rates and costs, with figures.",
    "reproduce": "Re-run published conditions and check every score.",
    "quickstart": "The whole job on a small real collection, in minutes.",
    "serve": "Answer searches over HTTP or MCP, with a page that compares systems.",
    "doctor": "What is installed, what is missing and the command that fixes it.",
}


class Verb(click.Command):
    """A click command whose failures are one line: 1 the work failed, 2 wrong usage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_remember_debug,
                help="Show the traceback of an error.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors(ctx.meta.get("iaa_retrieval.debug", False)):
            return super().invoke(ctx)


class one_line_errors:
    """Context manager that ends the process with one clear line instead of a traceback."""

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug

    def __enter__(self) -> None:
        begin_run()
        prepare_process()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, IaaRetrievalError):
            code = 2 if isinstance(error, UsageError) else 1
        elif isinstance(error, (OSError, MemoryError)):
            code = 1
        else:
            return
        if self.debug:
            traceback.print_exception(kind, error, trace)
        # Messages of libraries that end up in ours may have several lines.
        message = " ".join(str(error).split("\n")) or type(error).__name__
        click.echo(f"Error: {message}", err=True)
        sys.exit(code)


class LazyGroup(click.Group):
    """A group that imports a verb's module only when that verb is called, so ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"iaa_retrieval.{cmd_name}").main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _remember_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta["iaa_retrieval.debug"] = value

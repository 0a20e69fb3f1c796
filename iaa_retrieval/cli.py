"""What every verb's command line shares: one-line errors, ``--debug``, exit codes, verbs loaded on demand."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
import warnings
from typing import Any

import click

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.notices import begin_run

VERBS = {
    "train": "Tune a bi-encoder or a cross-encoder.",
    "index": "Build a Lucene (BM25) index of a collection.",
    "encode": "Encode a corpus or queries with a bi-encoder (drop-in for pyserini.encode).",
    "search": "Run Pyserini's faiss, lucene or hybrid search with our encoders.",
    "rerank": "Re-rank a run with a cross-encoder (or a bi-encoder).",
    "export": "Write a checkpoint for another tool: merged, self-contained, sentence-transformers or ONNX.",
    "evaluate": "Score runs against relevance judgments, with significance tests.",
    "reproduce": "Re-run published conditions and check every score.",
    "quickstart": "The whole job on a small real collection, in minutes.",
    "doctor": "What is installed, what is missing and the command that fixes it.",
}


PRECISIONS = ("auto", "fp32", "bf16", "fp16")

precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="auto is bf16 where the hardware multiplies it, else fp16 on a GPU and fp32 on a CPU.",
)
device_option = click.option("--device", default="auto", show_default=True, help="cpu, cuda:0, ... or auto.")


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
        quiet_libraries()
        keep_freed_memory()

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


def quiet_libraries() -> None:
    """Keep the libraries' own chatter (telemetry, load reports, tokenizer warnings) out of our output."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|torch|accelerate)\.")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("huggingface_hub", "httpx", "httpx2", "ir_datasets", "faiss", "faiss.loader", "peft", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensor, instead of returning it and faulting it in again.

    Each batch allocates and frees the same large tensors; with glibc's own thresholds, a tenth of the time of
    encoding goes into page faults. Blocks from 64 MiB on, such as an index, still go back. Without glibc nothing is
    done.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**26)


def progress(iterable: Any = None, **options: Any) -> Any:
    """A tqdm bar on standard error, off when that is not a terminal."""
    from tqdm import tqdm

    return tqdm(iterable, disable=None, dynamic_ncols=True, **options)


def _remember_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta["iaa_retrieval.debug"] = value

"""Settings of the whole process: what the command line sets before any work, and a Python program may.

What else is set for the whole process stands with what needs it, and at the moment when it is needed:

- Java's environment (``JAVA_HOME``, ``PATH``, ``CLASSPATH``, ``LC_ALL``), before Java starts: ``prepare_java``.
- PyTorch's threads, after a search with Faiss has set them to one: ``pyserini_plugin.threads``.
- ``TQDM_DISABLE``, before Pyserini's own search runs without a terminal: ``jobs.search``.
- transformers' bar over the weights that it loads, off while it loads ours: ``models.backbone``.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

# Libraries say these things to their own users, such as which files they ask a hub for.
ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
TALKATIVE = ("huggingface_hub", "httpx", "httpx2", "ir_datasets", "faiss", "faiss.loader", "peft", "urllib3")

# Of malloc.h, and the variables that set the same from outside
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MALLOC_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
_KEPT, _GIVEN_BACK = 2**26, 2**20  # bytes from which a block goes back as soon as it is freed


def prepare_process() -> None:
    """Set up this process as the command line does: quiet libraries, our log lines on standard error, memory kept.

    A program that encodes or trains calls it once, before it loads a model; calling it again changes nothing. Nothing
    that is set already is overridden: a variable of the environment, or handlers of the root logger.

    - Environment: no telemetry and no progress bars of the model hub, transformers only reports errors, and
      tokenizers use all cores although the process may fork later (which they warn of otherwise).
    - Warnings of the libraries about their own future versions are not shown.
    - Logging: messages of ``iaa_retrieval`` from INFO on go to standard error as plain lines, those of the
      libraries from WARNING on.
    - Memory: glibc keeps freed blocks below 64 MiB for the next tensor. A tenth of the time of encoding goes into
      page faults otherwise. Elsewhere than with glibc nothing is done, nor where a variable of glibc's says how.
    """
    _quiet_libraries()
    _keep_freed_memory()


def _quiet_libraries() -> None:
    """Keep the libraries' own chatter (telemetry, load reports, tokenizer warnings) out of our output."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|torch|accelerate)\.")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensor, instead of returning it and faulting it in again.

    Each batch allocates and frees the same large tensors. Blocks from 64 MiB on, such as an index, still go back.
    """
    if not given_back():
        _set_malloc(trim=2**31 - 1, mmap=_KEPT)


def given_back() -> bool:
    """Whether a variable of the environment says what becomes of freed memory, so that it is not kept."""
    return any(name in os.environ for name in MALLOC_VARIABLES)


def give_back_freed_memory() -> None:
    """Let the C library return what is freed, from 1 MiB on, at once: slower, and the process holds what it uses.

    Memory that is kept does not fit the next tensors one for one, so that a process which keeps it holds more than its
    tensors take. Elsewhere than with glibc nothing is done.
    """
    _set_malloc(trim=_GIVEN_BACK, mmap=_GIVEN_BACK)


def _set_malloc(*, trim: int, mmap: int) -> None:
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, trim)
        mallopt(M_MMAP_THRESHOLD, mmap)

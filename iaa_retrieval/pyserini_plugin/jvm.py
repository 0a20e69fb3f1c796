"""The JVM in this process: limits lifted, and its exceptions told in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from iaa_retrieval.errors import IaaRetrievalError

_LARGEST = 2**31 - 1
_LONGEST_REASON = 300
_EXCEPTION = re.compile(r"(?:[a-z]\w*\.)+[A-Z][\w$]*(?:Exception|Error)\b(?:: .*)?")
_FRAME = re.compile(r"^at |\([\w$. ]+(?::\d+)?\)$")
# What pyjnius and Java put before an exception, and lines that are no reason.
_PREAMBLE = re.compile(r"^(?:jnius\.JavaException: )?(?:JVM exception occurred: )?")
_CHATTER = re.compile(r"^(?:Picked up |WARNING: |NOTE: |Traceback )| (?:INFO|WARN) +\[")
_NO_START = "Error occurred during initialization of VM"
_NEWER_INDEX = (
    "; a newer Lucene made this index than the one of this Pyserini (2.x has Lucene 10, 1.6 has Lucene 9): search it "
    "with that Pyserini, or make it again with this one"
)
# What a reason holds, and what to do then.
_ADVICE = {
    "OutOfMemoryError": "; give Java more memory with the environment variable JAVA_TOOL_OPTIONS, such as -Xmx8g",
    "indexCreatedVersionMajor is in the future": _NEWER_INDEX,
    "IndexFormatTooNewException": _NEWER_INDEX,
}


def allow_long_queries() -> None:
    """Let Lucene take queries of any number of terms; its limit of 1,024 stops a whole run at one long query.

    Pyserini must be ready to start (see ``iaa_retrieval.java.prepare_java``).
    """
    from pyserini.pyclass import autoclass

    autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(_LARGEST)


@contextmanager
def java_errors(doing: str) -> Iterator[None]:
    """Turn what Java throws into one line.

    Args:
        doing: what cannot be done then, to stand after "cannot", such as ``open the index X``.

    Raises:
        IaaRetrievalError: Java threw something.
    """
    from jnius import JavaException

    try:
        yield
    except JavaException as error:
        raise IaaRetrievalError(f"cannot {doing}: {java_reason(str(error))}") from error


def java_reason(text: str) -> str:
    """The one line that says why, from an exception's text with its stack or from a whole log.

    That is the innermost cause of the first exception (what follows it is often only its consequence), else the
    last line that says anything.
    """
    lines = [_PREAMBLE.sub("", line.strip()) for line in text.splitlines() if line.strip()]
    reason = ""
    for line in lines:
        found = None if _FRAME.search(line) else _EXCEPTION.search(line)
        if found is None:
            continue
        if not reason or line.startswith("Caused by: "):
            reason = found.group()
        elif found.group() != reason:  # pyjnius says the same twice
            break
    if not reason and _NO_START in lines:
        reason = " ".join(lines[lines.index(_NO_START) :][:2])
    if not reason:
        said = [line for line in lines if not _CHATTER.search(line)]
        reason = said[-1] if said else "it did not say why"
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[:_LONGEST_REASON]} ..."
    return reason + next((advice for sign, advice in _ADVICE.items() if sign in reason), "")

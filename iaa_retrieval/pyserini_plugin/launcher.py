"""Running Pyserini's own search commands with our encoders, any topics we can read, and whole outputs.

The command line goes to the stock module as it is, but for four things: ``--encoder`` may name our
checkpoints, ``--topics`` may name what Pyserini cannot read, ``--output`` appears whole or not at all, and an
index that another encoder made is refused.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.files import atomic_file, is_stream
from iaa_retrieval.java import prepare_java
from iaa_retrieval.pyserini_plugin.hit_counts import counted_hits, report_hits
from iaa_retrieval.pyserini_plugin.index_directories import count_ids, open_lucene_index
from iaa_retrieval.pyserini_plugin.jvm import allow_long_queries, java_reason
from iaa_retrieval.pyserini_plugin.lucene_analysis import all_languages, follow_index
from iaa_retrieval.pyserini_plugin.lucene_searchers import open_directories_without_network
from iaa_retrieval.pyserini_plugin.lucene_vector_search import encode_topics, require_vector_index
from iaa_retrieval.pyserini_plugin.online_tables import known_topics
from iaa_retrieval.pyserini_plugin.search_encoder import (
    load_query_encoder,
    registered,
    require_dense_index,
    require_matching_index,
    require_sparse_index,
)
from iaa_retrieval.pyserini_plugin.stock_arguments import StockArguments, join_hybrid, split_hybrid

BATCH_SIZE = 128

# With less than one of these, Pyserini fails in the middle (an assertion, an exception of Java) or writes nothing.
COUNTS = ("--hits", "--max-passage-hits")

IGNORED_BY_HYBRID = {
    "dense": ("--prf-depth", "--ef-search", "--normalize-distances", "--faiss-device", "--searcher"),
    "sparse": (
        *(
            "--rm3",
            "--rm3-py",
            "--rocchio",
            "--rocchio-py",
            "--qld",
            "--bm25qs",
            "--fields",
            "--dismax",
            "--stopwords",
            "--prcl",
            "--dense",
        ),
        *("--pretokenized", "--tokenizer", "--hits", "--remove-query", "--remove-duplicates", "--max-passage"),
    ),
}

logger = logging.getLogger(__name__)
WARNINGS = logging.getLogger("iaa_retrieval")


def launch_search(kind: str, words: list[str]) -> None:
    """Run ``python -m pyserini.search.KIND`` with these arguments in this process.

    Args:
        kind: ``faiss``, ``lucene`` or ``hybrid``.
        words: the stock command's arguments.

    Raises:
        UsageError: an option contradicts the checkpoint, or one is missing.
        IaaRetrievalError: no Java, an unknown index or topics, an index made by another encoder, or the
            search failed; no output is left then.
        SystemExit: the stock command ended with an exit code other than 0; no output is left then either.
    """
    prepare_java()
    if "--help" in words or "-h" in words:
        _run_stock(kind, words)
        return
    sections = _READ[kind](words)
    _require_counts(sections)
    if kind == "lucene" and sections["run"].has("--dense"):
        _search_vectors(sections["run"])
        return
    run, dense, sparse = sections["run"], sections.get("dense"), sections.get("sparse")
    hybrid = "fusion" in sections
    if dense is not None:
        require_dense_index(dense)
    if sparse is not None:
        require_sparse_index(sparse)
        follow_index(sparse, hybrid=hybrid)
    if hybrid:
        _warn_of_ignored(sections)
    with tempfile.TemporaryDirectory(prefix="topics-") as folder:
        _materialise_topics(run, Path(folder))
        encoder = None
        if dense is not None:
            encoder = load_query_encoder(dense)
            require_matching_index(dense, encoder)
        if encoder is not None and not hybrid and not (run.has("--batch-size") or run.has("--threads")):
            run.set("--batch-size", str(BATCH_SIZE))  # stock Pyserini would encode one query at a time
            run.set("--threads", str(os.cpu_count() or 1))
        cuts = encoder.count_cuts("--max-length sets another length") if encoder is not None else None
        with _whole_output(run), registered(dense, encoder), counted_hits() as counts:
            if sparse is not None:
                allow_long_queries()
            with all_languages():
                _run_stock(kind, join_hybrid(sections) if hybrid else run.words)
        if cuts is not None:
            cuts.warn()
    removed = 1 if run.has("--remove-query") else 0
    report_hits(kind, counts, documents=_document_count(dense or sparse), removed=removed)


def _search_vectors(arguments: StockArguments) -> None:
    """``search lucene --dense``, with queries that our encoder makes vectors of."""
    require_vector_index(arguments)
    with tempfile.TemporaryDirectory(prefix="topics-") as folder:
        _materialise_topics(arguments, Path(folder))
        cuts = encode_topics(arguments, Path(folder))
        with _whole_output(arguments), counted_hits() as counts:
            open_directories_without_network()
            _run_stock("lucene", arguments.words)
        if cuts is not None:
            cuts.warn()
    removed = 1 if arguments.has("--remove-query") else 0
    report_hits("vectors", counts, documents=_document_count(arguments), removed=removed)


def _document_count(arguments: StockArguments | None) -> int | None:
    """How many documents there are to find in ``--index``, None for a prebuilt index."""
    index = (arguments.get("--index") if arguments is not None else None) or ""
    if not Path(index).is_dir():
        return None
    if (Path(index) / "docid").is_file():
        return count_ids(Path(index))
    try:
        return int(open_lucene_index(index).num_docs)
    except IaaRetrievalError:  # the search is done, and a count must not undo it
        return None


def _dense_sections(words: list[str]) -> dict[str, StockArguments]:
    arguments = StockArguments(words)
    return {"run": arguments, "dense": arguments}


def _sparse_sections(words: list[str]) -> dict[str, StockArguments]:
    arguments = StockArguments(words)
    return {"run": arguments, "sparse": arguments}


def _hybrid_sections(words: list[str]) -> dict[str, StockArguments]:
    sections = split_hybrid(words)
    for needed in ("dense", "sparse", "fusion", "run"):
        if needed not in sections:
            raise UsageError(f"no part `{needed}`: hybrid search is dense ... sparse ... fusion ... run ...")
    if not sections["run"].has("--output"):
        raise UsageError("--output is needed in the part `run`: the run to write")
    return sections


# The options by what they are about; in faiss and lucene one command line serves two sections.
_READ = {"faiss": _dense_sections, "lucene": _sparse_sections, "hybrid": _hybrid_sections}


def _require_counts(sections: dict[str, StockArguments]) -> None:
    """Refuse a search for less than one hit; what is no number at all is left to stock Pyserini.

    Raises:
        UsageError: there is one.
    """
    for arguments in sections.values():
        for option in COUNTS:
            value = arguments.get(option) or ""
            if value.removeprefix("-").isdecimal() and int(value) < 1:
                raise UsageError(f"{option} {value}: at least 1 is needed")


def _warn_of_ignored(sections: dict[str, StockArguments]) -> None:
    """Say which options the stock hybrid search takes and does nothing with.

    Raises:
        UsageError: it cannot search without what is ignored.
    """
    if sections["dense"].has("--pca-model"):
        raise UsageError("Pyserini's hybrid search ignores --pca-model; leave it out, or use search faiss")
    ignored = [name for part, names in IGNORED_BY_HYBRID.items() for name in names if sections[part].has(name)]
    if ignored:
        WARNINGS.warning("Pyserini's hybrid search ignores %s", ", ".join(ignored))


def _run_stock(kind: str, words: list[str]) -> None:
    """The stock module as ``__main__``; whatever it raises is one line, an exit code stays as it is."""
    before = sys.argv
    sys.argv = [f"python -m iaa_retrieval.search {kind}", *words]
    try:
        runpy.run_module(f"pyserini.search.{kind}", run_name="__main__")
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise
    except KeyError as error:
        if "--encoded-queries" not in " ".join(words):
            raise IaaRetrievalError(f"Pyserini's {kind} search does not know {error} (--debug shows where)") from error
        raise IaaRetrievalError(
            f"Pyserini's {kind} search found nothing for {error}; is that query among the encoded queries?"
        ) from error
    except Exception as error:  # anything that stock code or the JVM raises
        from jnius import JavaException

        lines = str(error).strip().splitlines()
        reason = f" with {type(error).__name__}" + (f": {lines[0]}" if lines else "")
        if isinstance(error, JavaException):
            reason = f": {java_reason(str(error))}"
        raise IaaRetrievalError(f"Pyserini's {kind} search failed{reason} (--debug shows where)") from error
    finally:
        sys.argv = before


def _materialise_topics(arguments: StockArguments, folder: Path) -> None:
    """Point ``--topics`` at a Pyserini ``.json`` of the same queries, unless it is a name of Pyserini's own.

    Pyserini knows neither ir_datasets ids nor BEIR's JSON lines, turns an id ``0012`` into 12, and parses a
    file by words in its path; a ``.json`` escapes all of that.
    """
    from iaa_retrieval.collections.loading import is_collection, looks_like_path
    from iaa_retrieval.collections.topic_files import write_topics
    from iaa_retrieval.collections.topics import read_topics

    name = arguments.get("--topics")
    if name is None:
        raise UsageError("--topics is needed: a file, an ir_datasets id, SPEC:SPLIT or one of Pyserini's names")
    if (arguments.get("--topics-format") or "default") != "default":
        return
    if not (Path(name).is_file() or looks_like_path(name) or is_collection(name)):
        if name not in known_topics(name):
            raise UsageError(
                f"unknown topics {name!r}: not a file, a collection (SPEC:SPLIT) or one of Pyserini's topics"
            )
        return
    if not arguments.has("--output"):
        raise UsageError("--output is needed: the run to write")
    path = folder / "topics.json"
    write_topics(path, read_topics(name))
    arguments.set("--topics", str(path))


@contextmanager
def _whole_output(arguments: StockArguments) -> Iterator[None]:
    """Let the stock writer fill a file beside ``--output`` that gets its name only after success."""
    output = arguments.get("--output")
    if output is None:
        yield
        return
    with atomic_file(output) as stream:
        partial = Path(stream.name)
        partial.unlink()  # so that its presence tells whether stock Pyserini wrote anything
        arguments.set("--output", str(partial))
        # A run that goes to standard output must stay a run: what Pyserini prints goes elsewhere.
        with redirect_stdout(sys.stderr) if is_stream(output) else nullcontext():
            yield
        if not partial.exists():
            raise IaaRetrievalError(f"the search wrote no run for {output}; see what Pyserini printed above")
    logger.info("Wrote %s", output)

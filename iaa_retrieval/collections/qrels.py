"""Relevance judgments: TREC's four columns and BEIR's three."""

from __future__ import annotations

from pathlib import Path

from iaa_retrieval.collections.lines import check_id, read_lines
from iaa_retrieval.collections.types import Qrels
from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import atomic_file

_TREC_COLUMNS = "4 columns (query, iteration, document, grade)"
_BEIR_COLUMNS = "3 tab-separated columns (query, document, grade)"


def read_qrels(source: str | Path) -> Qrels:
    """Judgments from a file, a collection's split (``SPEC:SPLIT``) or an ir_datasets id.

    Raises:
        IaaRetrievalError: a malformed line, named by file and line.
        UsageError: neither a file nor a collection.
    """
    from iaa_retrieval.collections.collection import load_collection  # which reads its judgments from here

    if Path(source).is_file():
        return read_qrels_file(source)
    return load_collection(str(source)).qrels()


def read_qrels_file(path: str | Path) -> Qrels:
    """Judgments from a TREC file (no header) or a BEIR ``.tsv`` (with header), gzipped or not."""
    qrels: Qrels = {}
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise IaaRetrievalError(f"{path} holds no judgments")
    beir = _is_beir_header(first[1])
    if not beir:
        _add_judgment(qrels, *first, beir=False)
    for place, line in lines:
        _add_judgment(qrels, place, line, beir=beir)
    if not qrels:
        raise IaaRetrievalError(f"{path} holds no judgments")
    return qrels


def write_qrels(path: str | Path, qrels: Qrels) -> None:
    """Write judgments, whole or not at all: BEIR's three columns for ``.tsv``, else TREC's four."""
    beir = Path(path).suffix == ".tsv"
    with atomic_file(path) as stream:
        if beir:
            stream.write("query-id\tcorpus-id\tscore\n")
        for query_id in sorted(qrels):
            for doc_id, grade in sorted(qrels[query_id].items()):
                check_id(query_id, str(path))
                check_id(doc_id, str(path))
                columns = [query_id, doc_id, str(grade)] if beir else [query_id, "0", doc_id, str(grade)]
                stream.write("\t".join(columns) + "\n")


def _is_beir_header(line: str) -> bool:
    columns = line.split("\t")
    return len(columns) == 3 and not _is_integer(columns[2])


def _add_judgment(qrels: Qrels, place: str, line: str, *, beir: bool) -> None:
    columns = line.split("\t") if beir else line.split()
    if len(columns) != (3 if beir else 4):
        hint = "; a BEIR file starts with a header line" if not beir and len(columns) == 3 else ""
        raise IaaRetrievalError(
            f"{place}: expected {_BEIR_COLUMNS if beir else _TREC_COLUMNS}, found {len(columns)}{hint}"
        )
    query_id, doc_id, grade = columns[0], columns[-2], columns[-1]
    if not _is_integer(grade):
        raise IaaRetrievalError(f"{place}: grade {grade!r} is not a whole number")
    judged = qrels.setdefault(check_id(query_id, place), {})
    if judged.setdefault(check_id(doc_id, place), int(grade)) != int(grade):
        raise IaaRetrievalError(
            f"{place}: document {doc_id!r} of query {query_id!r} has two grades, {judged[doc_id]} and {grade}"
        )


def _is_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True

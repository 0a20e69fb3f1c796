"""What is generated inside the hand-written ``reproductions/README.md``: table, checkpoints' size, findings."""

from __future__ import annotations

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.checkpoints import BYTES_PER_WEIGHT, checkpoint_size
from iaa_retrieval.reproduction.claims.all_claims import claims_of
from iaa_retrieval.reproduction.claims.cases import cases_of
from iaa_retrieval.reproduction.pages.content import NOT_RUN, tables_of, tally
from iaa_retrieval.reproduction.pages.learning_efficiency import NAME, subjects_of, summary_table
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.runner import MISSES, Outcome

PARTS = TABLE, CHECKPOINTS, FINDINGS = "table", "checkpoints", "findings"


def markers(part: str) -> tuple[str, str]:
    """Between which lines a generated part stands."""
    return f"<!-- generated {part}: begin -->", f"<!-- generated {part}: end -->"


def index_page(current: str, reproductions: list[Reproduction]) -> str:
    """The index with its generated parts made anew, each between its two markers.

    Raises:
        IaaRetrievalError: a marker is missing.
    """
    page = _replace(current, TABLE, _table(reproductions))
    page = _replace(page, CHECKPOINTS, _checkpoints(reproductions))
    return _replace(page, FINDINGS, _findings(reproductions))


def _replace(page: str, part: str, content: str) -> str:
    begin, end = markers(part)
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise IaaRetrievalError(f"reproductions/README.md lacks the marker {end if found_begin else begin}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def _table(reproductions: list[Reproduction]) -> str:
    lines = [
        "| collection | rows | measured | re-run and equal | re-run and off | the paper's | Pyserini's | not yet run |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for reproduction in reproductions:
        counts = tally(reproduction)
        outcomes = [
            {cell.outcome for cell in row.cells} - {None} for table in tables_of(reproduction) for row in table.rows
        ]
        off = sum(bool(found & set(MISSES)) for found in outcomes)
        equal = sum(found == {Outcome.OK} for found in outcomes)
        lines.append(
            f"| [{reproduction.name}]({reproduction.name}.md) ([interactive]({reproduction.name}.html)) "
            f"| {len(reproduction.conditions)} | {counts['measured']} | {equal} | {off} | {counts['paper']} "
            f"| {counts['published']} | {counts[NOT_RUN]} |"
        )
    return "\n".join(lines)


def _findings(reproductions: list[Reproduction]) -> str:
    """On how many tables each claim holds; the rules and the numbers are a page of their own."""
    cases = cases_of(reproductions)
    if not cases:
        return "Nothing is measured yet."
    tables = [summary_table(claims_of(subject, cases)) for subject in subjects_of(cases)]
    return "\n\n".join([*tables, f"The rules, the numbers of every table and figures: [{NAME}]({NAME})."])


def _checkpoints(reproductions: list[Reproduction]) -> str:
    """How many adapters are committed, and what as many networks would take."""
    sizes, full_sizes = [], []
    for reproduction in reproductions:
        committed = list(filter(None, (checkpoint_size(plan.checkpoint) for plan in reproduction.plans)))
        sizes += committed
        full_sizes += [BYTES_PER_WEIGHT * reproduction.backbone.parameters] * len(committed)
    return (
        f"`checkpoints/` holds {len(sizes)} adapters, in fp16: {sum(sizes) / 1e6:.1f} MB, everything included. As many "
        f"networks from full fine-tuning would take {sum(full_sizes) / 1e6:.1f} MB in fp16, for the weights alone."
    )

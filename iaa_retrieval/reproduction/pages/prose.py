"""Sentences that both forms of a page share."""

from __future__ import annotations

from iaa_retrieval.reproduction.pages.content import NOT_RUN, Row, Table, tally
from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.tried_rates import TriedRates


def provenance_notice(reproduction: Reproduction) -> str:
    """What on the page was measured and what was not, counted from the YAML."""
    counts = tally(reproduction)
    if not counts["measured"] and not counts["paper"]:
        return "Nothing on this page has been run yet."
    if not counts["measured"]:
        pyserini = f"; those of the {counts['published']} BM25 rows are Pyserini's published figures"
        return (
            f"Nothing on this page was measured by this project. The scores of {counts['paper']} rows are the paper's"
            f"{pyserini if counts['published'] else ''}."
        )
    missing = f"; {counts[NOT_RUN]} are not yet run" if counts[NOT_RUN] else ""
    return f"{counts['measured']} of {len(reproduction.conditions)} rows were measured by this project{missing}."


def how_to_run(reproduction: Reproduction) -> list[tuple[str, list[str]]]:
    """Sentence -> commands."""
    verb = f"python -m iaa_retrieval.reproduce --collection {reproduction.name}"
    parts = []
    if reproduction.requires:
        exports = [f"export {variable}=FOLDER  # {what}" for variable, what in reproduction.requires.items()]
        parts.append(("Before anything else, in the shell:", exports))
    parts.append(
        (
            "In the environment that `make demo` sets up (`source .venv/bin/activate`), from the root of the "
            "repository, one row or all; what is valid below `runs/` is used again:",
            [f"{verb} --condition {reproduction.conditions[0].name}", f"{verb} --all"],
        )
    )
    return parts


def measured_with(row: Row) -> str:
    """When, with which versions and on what the expected scores and the kept re-run were measured."""
    parts = []
    if row.condition.measured:
        details = ", ".join(f"{key} {value}" for key, value in row.condition.measured.items())
        parts.append(f"Expected scores measured with: {details}.")
    if row.result:
        seeds = ", ".join(map(str, row.result.seeds))
        versions = ", ".join(f"{name} {version}" for name, version in row.result.versions.items())
        parts.append(f"Re-run from nothing on {row.result.date}: seed {seeds}, {row.result.hardware}, {versions}.")
    return " ".join(parts)


def own_settings(row: Row) -> str:
    """The settings in which a condition differs from the others of its stage."""
    values = (f"{name.replace('_', ' ')} {s.value} ({s.provenance})" for name, s in row.condition.settings.items())
    listed = ", ".join(values)
    return f"Set for this row: {listed}." if listed else ""


def rate_search_text(table: Table) -> str:
    """How the learning rates were chosen; empty where none are kept."""
    search = table.table.rate_search
    tried = [row.tried for row in table.rows if row.tried]
    if search is None or not tried:
        return ""
    differing = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in search.settings.items())
    counts = {len(rates.scores) for rates in tried}
    how_many = f"{min(counts)}" if len(counts) == 1 else f"between {min(counts)} and {max(counts)}"
    text = (
        f"Every method tried {how_many} learning rates, with "
        f"{differing or 'the settings above'}; the best {search.metric} on the dev queries chose the rate of its row. "
        "The test queries took no part."
    )
    if any(rates.seeds for rates in tried):
        return f"{text} A score is the mean over several seeds, with their standard deviation."
    return f"{text} Each rate was tried with one seed, so the spread of its score is not known."


def rates_tried(row: Row) -> list[tuple[str, str, bool]]:
    """Rate, dev score and whether it is the best, of every rate that a row tried."""
    if row.tried is None:
        return []
    return [(rate, _dev_score(row.tried, rate), rate == row.tried.best) for rate in row.tried.scores]


def rate_remarks(row: Row) -> str:
    """How sure the choice of the rate is; empty where nothing speaks against it."""
    tried = row.tried
    if tried is None:
        return ""
    remarks = []
    if tried.best is None:
        remarks.append("diverged at every rate")
    if tried.at_edge:
        remarks.append("the best is at the edge of the range")
    if tried.rival is not None:
        remarks.append(f"{tried.rival} is within the spread of the best")
    return "; ".join(remarks)


def _dev_score(tried: TriedRates, rate: str) -> str:
    score, deviation = tried.scores[rate], tried.deviation(rate)
    if score is None:
        seeds = tried.seeds.get(rate, {})
        failed = sum(value is None for value in seeds.values())
        return f"diverged with {failed} of {len(seeds)} seeds" if seeds else "diverged"
    return f"{score:.4f}" + (f" (sd {deviation:.4f})" if deviation is not None else "")

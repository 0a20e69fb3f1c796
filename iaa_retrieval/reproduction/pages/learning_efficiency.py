"""The page ``learning-efficiency.md``: the source paper's claims, judged on everything that is measured."""

from __future__ import annotations

from collections.abc import Sequence

from iaa_retrieval.reproduction.claims.all_claims import claims_of
from iaa_retrieval.reproduction.claims.cases import Case, cases_of, one_per_table
from iaa_retrieval.reproduction.claims.judging import Claim, Verdict
from iaa_retrieval.reproduction.pages.claim_figures import Figure, claim_figures
from iaa_retrieval.reproduction.pages.findings import findings_of
from iaa_retrieval.reproduction.plan import Reproduction

NAME = "learning-efficiency.md"
_INTRODUCTION = """\
What our measurements say of the source paper's claims. Everything below is computed from what is kept beside this page
(`python -m iaa_retrieval.reproduce --collection all --generate-report`). The rules were set when the
scores of BEIR's collections and of msmarco-mini were known and those of python-packages were not; one was changed after
its verdict had been seen: claim 3 was put into claim 2's family of Holm's procedure, so that both judge alike.

Scores are compared by a two-tailed t-test over queries and seeds together: both are random, so that a clear difference
holds for further queries and for further seeds. Where a row has one seed and the other has several, it is taken to vary
over seeds as that one does. Where both have one seed, the test is the paired t-test over the queries, and what another
seed would have changed is not in it. Holm's procedure adjusts the p-values of a claim for all the tables on which it is
judged. The best of each kind is chosen by the very scores that are compared, which favours the kind with more rows. A
claim is judged by the first column of a table; the rows have learning rates chosen on dev queries, as the page of the
table says. What is not there to judge a claim by is "not measured"."""


def learning_efficiency_page(reproductions: Sequence[Reproduction]) -> str:
    """The whole page, in Markdown."""
    cases = cases_of(reproductions)
    parts = ["# How well it learns: the paper's claims", _INTRODUCTION]
    if not cases:
        return "\n\n".join([*parts, "Nothing is measured yet."]) + "\n"
    for subject in subjects_of(cases):
        claims = claims_of(subject, cases)
        parts += [f"## {subject}: in short", summary_table(claims)]
        for number, claim in enumerate(claims, start=1):
            parts += [f"## {number}. {claim.claim}", claim.rule, _judgements(claim)]
    parts += ["## What the tables say", findings_of(cases)]
    figures = claim_figures(cases)
    if figures:
        parts += ["## Training losses, dev scores and learning rates", *map(_figure, figures)]
    drawings = [drawing for case in one_per_table(cases) for drawing in _saved_drawings(case)]
    if drawings:
        parts += ["## Update directions and loss surfaces", *drawings]
    return "\n\n".join(parts) + "\n"


def subjects_of(cases: Sequence[Case]) -> list[str]:
    """What the reproductions are about, each once."""
    return list(dict.fromkeys(case.subject for case in cases))


def summary_table(claims: Sequence[Claim]) -> str:
    """On how many tables each claim is confirmed, contradicted, not decided and not measured."""
    lines = [
        f"| | claim | {' | '.join(verdict.value for verdict in Verdict)} |",
        "|---:|---|" + "---:|" * len(Verdict),
    ]
    for number, claim in enumerate(claims, start=1):
        counts = " | ".join(str(claim.count(verdict)) for verdict in Verdict)
        lines.append(f"| {number} | {claim.claim} | {counts} |")
    return "\n".join(lines)


def _judgements(claim: Claim) -> str:
    """A table of what is measured; then what is not, by the reason."""
    if not claim.judgements:
        return "Not measured: no table has such rows."
    lines: list[str] = []
    reasons: dict[str, list[str]] = {}
    for judged in claim.judgements:
        case = judged.case
        if judged.verdict is Verdict.NOT_MEASURED:
            reasons.setdefault(judged.numbers, []).append(f"{case.table}, {case.budget}")
            continue
        backbone = case.reproduction.backbone.display_name
        lines.append(f"| {case.table} | {case.budget} | {backbone} | **{judged.verdict.value}** | {judged.numbers} |")
    parts = ["\n".join(["| table | budget | backbone | verdict | numbers |", "|---|---:|---|---|---|", *lines])]
    parts = parts if lines else []
    if reasons:
        parts += ["Not measured:", "\n".join(f"- {'; '.join(tables)}: {reason}" for reason, tables in reasons.items())]
    return "\n\n".join(parts)


def _saved_drawings(case: Case) -> list[str]:
    """What ``analyze`` drew of a table, with its data."""
    drawings = []
    for name, what in (("update-direction", "directions of the steps"), ("loss-surface", "loss surfaces")):
        path = case.analyses / f"{name}.svg"
        if path.is_file():
            place = path.relative_to(case.reproduction.directory).with_suffix("")
            caption = f"{case.table}, {case.budget}: {what}."
            drawings.append(f"![{caption}]({place}.svg)\n\n{caption} Its data: [{name}.csv]({place}.csv).")
    return drawings


def _figure(figure: Figure) -> str:
    path = f"figures/{figure.name}"
    return f"![{figure.caption}]({path}.svg)\n\n{figure.caption} Its data: [{figure.name}.csv]({path}.csv)."

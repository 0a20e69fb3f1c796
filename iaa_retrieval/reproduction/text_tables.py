"""What the ``reproduce`` verb prints."""

from __future__ import annotations

from collections.abc import Sequence

from iaa_retrieval.reproduction.plan import Reproduction
from iaa_retrieval.reproduction.runner import Comparison


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """One line per score: expected, measured and what that means."""
    lines = [f"{'condition':22}{'stage':11}{'topics':11}{'metric':10}{'expected':>10}{'measured':>10}  outcome"]
    for c in comparisons:
        expected = f"{c.expected.value:.4f}" if c.expected else "-"
        lines.append(
            f"{c.condition:22}{c.stage:11}{c.topics:11}{c.metric:10}{expected:>10}{c.measured:10.4f}  {c.outcome.value}"
        )
    return "\n".join(lines)


def condition_list(reproduction: Reproduction) -> str:
    """One line per condition, with its expected scores."""
    lines = []
    for c in reproduction.conditions:
        scores = [
            f"{topics} {metric} {score.value:.4f} ({score.provenance})"
            for topics, of_topics in c.scores.items()
            for metric, score in of_topics.items()
        ]
        lines.append(f"{c.name:20}{c.stage:12}" + ("  ".join(scores) or "not yet run"))
    return "\n".join(lines)

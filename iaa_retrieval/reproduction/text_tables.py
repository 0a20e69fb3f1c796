"""What the ``reproduce`` verb prints."""

from __future__ import annotations

from collections.abc import Sequence

from iaa_retrieval.reproduction.conditions import Condition, Reproduction
from iaa_retrieval.reproduction.results import Result
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


def scores_as_yaml(reproduction: Reproduction, condition: Condition, result: Result) -> str:
    """The ``measured`` and ``scores`` of a result as the YAML holds them; the tolerance is for a person to choose."""
    versions = ", ".join(f"{name} {result.versions[name]}" for name in result.versions)
    lines = [
        f'    measured: {{date: {result.date}, hardware: "{result.hardware}", versions: "{versions}"}}',
        "    scores:",
    ]
    for topics, metrics in reproduction.columns(condition).items():
        lines.append(f"      {topics}:")
        for metric in metrics:
            means = result.seed_means(topics, metric) or {}
            value = sum(means.values()) / len(means)
            seeds = ", ".join(f"{seed}: {of_seed:.4f}" for seed, of_seed in means.items())
            several = f", seeds: {{{seeds}}}" if len(means) > 1 else ""
            lines.append(f"        {metric}: {{value: {value:.4f}, tolerance: ?, provenance: measured{several}}}")
    return "\n".join(lines)

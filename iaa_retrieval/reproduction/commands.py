"""The command lines of a condition, as a user pastes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iaa_retrieval.reproduction.conditions import TopicSet
from iaa_retrieval.reproduction.plan import ConditionPlan
from iaa_retrieval.reproduction.runner import committed_checkpoints
from iaa_retrieval.reproduction.steps import without_training


def commands_of(
    plan: ConditionPlan, directory: Path, *, seed: int | None = None, from_checkpoint: bool = False
) -> list[str]:
    """Every command from raw collection (or the committed checkpoint) to score.

    Args:
        seed: None is the condition's first.

    Raises:
        IaaRetrievalError: no checkpoint is committed.
    """
    lines: dict[str, None] = {}
    for topics in plan.columns:
        chain = plan.chain(topics, seed)
        elsewhere: dict[str, Path] = {}
        if from_checkpoint:
            trained = committed_checkpoints(plan, chain)
            elsewhere = dict.fromkeys(trained, plan.printed_checkpoint)
            chain = without_training(chain)
        lines |= dict.fromkeys(step.command_in(directory, elsewhere) for step in chain)
    for topics, metrics in plan.columns.items():
        run = directory / plan.run_name(topics, seed)
        lines |= dict.fromkeys(evaluation_commands(plan.reproduction.topic_sets[topics], run, metrics))
    return list(lines)


def evaluation_commands(topics: TopicSet, run: Path, metrics: Sequence[str]) -> list[str]:
    """The command lines that score a run: one, or two where only some metrics binarise the grades."""
    graded = [metric for metric in metrics if metric.startswith("nDCG")]
    binary = [metric for metric in metrics if metric not in graded]
    if topics.relevance_level == 1:
        groups = [(list(metrics), "")]
    else:
        groups = [(graded, ""), (binary, f" -l {topics.relevance_level}")]
    qrels = f'"{topics.qrels}"' if "$" in topics.qrels else topics.qrels
    return [
        f'python -m iaa_retrieval.evaluate --qrels {qrels} --run {run}{level} --metrics "{" ".join(names)}"'
        for names, level in groups
        if names
    ]

"""The command lines of a condition, as a user pastes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iaa_retrieval.reproduction.conditions import Condition, Reproduction, TopicSet
from iaa_retrieval.reproduction.runner import committed_checkpoints
from iaa_retrieval.reproduction.steps import without_training


def runs_directory(reproduction: Reproduction) -> Path:
    """Where the printed commands put their outputs."""
    return Path("runs") / reproduction.name


def printed_checkpoint(reproduction: Reproduction, condition: Condition) -> Path:
    """The committed checkpoint as seen from the repository's root, where commands are pasted."""
    return Path(reproduction.directory.name) / reproduction.checkpoint(condition).relative_to(reproduction.directory)


def commands_of(
    reproduction: Reproduction,
    condition: Condition,
    directory: Path,
    *,
    seed: int | None = None,
    from_checkpoint: bool = False,
) -> list[str]:
    """Every command from raw collection (or the committed checkpoint) to score.

    Args:
        seed: None is the condition's first.

    Raises:
        IaaRetrievalError: no checkpoint is committed.
    """
    lines: dict[str, None] = {}
    for topics in reproduction.columns(condition):
        chain = reproduction.chain(condition, topics, seed)
        elsewhere: dict[str, Path] = {}
        if from_checkpoint:
            trained = committed_checkpoints(reproduction, condition, chain)
            elsewhere = dict.fromkeys(trained, printed_checkpoint(reproduction, condition))
            chain = without_training(chain)
        lines |= dict.fromkeys(step.command_in(directory, elsewhere) for step in chain)
    for topics, metrics in reproduction.columns(condition).items():
        run = directory / reproduction.run_name(condition, topics, seed)
        lines |= dict.fromkeys(evaluation_commands(reproduction.topic_sets[topics], run, metrics))
    return list(lines)


def trains(reproduction: Reproduction, condition: Condition) -> bool:
    """Whether a condition needs training."""
    return any(
        step.trains for topics in reproduction.columns(condition) for step in reproduction.chain(condition, topics)
    )


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

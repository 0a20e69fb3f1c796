"""The line on memory at the start of a training run, and what to do where it will not do."""

from __future__ import annotations

import logging
import os

import torch

from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.process import give_back_freed_memory, given_back
from iaa_retrieval.training.data import ExampleDataset
from iaa_retrieval.training.free_memory import free_bytes
from iaa_retrieval.training.kinds import TrainingKind
from iaa_retrieval.training.memory_estimate import MemoryEstimate, MemoryEstimator
from iaa_retrieval.training.options import ResolvedHyperparameters, TrainOptions

LOG = logging.getLogger("iaa_retrieval")

# glibc keeps what a training step frees (``process.prepare_process``), and what it keeps does not fit one for one. As
# measured (docs/backbones.md), that is about half of the activations, and at least so much, but for tiny models.
_KEPT_AT_LEAST = 512 * 2**20


def say_memory(
    kind: TrainingKind,
    options: TrainOptions,
    hyper: ResolvedHyperparameters,
    model: Retriever,
    examples: ExampleDataset,
    precision: str,
) -> None:
    """Say (in the first process) how much memory the run needs, and warn where that is more than there is.

    The batch is the longest of three: the first, one in the middle and the last.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    try:
        estimator = MemoryEstimator(
            model, _longest_batch(kind, options, hyper, model, examples), precision, options.memory.optimizer
        )
    except RuntimeError as error:  # even two texts are too many, or the network cannot be run for a trial
        LOG.warning("how much memory training needs cannot be found out: %s", " ".join(str(error).split()))
        return
    devices = [parameter.device for parameter in model.parameters()]
    free = free_bytes(devices)
    grad_cache = options.objective.grad_cache
    wanted = estimator.estimate(grad_cache)
    if free is None:
        LOG.info("training needs about %s of memory", _said(wanted.total))
        return
    there = free + wanted.weights  # the weights are in memory already
    kept = 0 if any(device.type != "cpu" for device in devices) or given_back() else held_too(wanted)
    if wanted.total + kept <= there:
        LOG.info("training needs about %s of memory, of %s free", _said(wanted.total + kept), _said(there))
        return
    if kept:
        give_back_freed_memory()
    if wanted.total <= there:
        LOG.info(
            "training needs about %s of memory, of %s free; what a step frees is given back at once, which is slower "
            "(--grad-cache needs less)",
            _said(wanted.total),
            _said(there),
        )
        return
    LOG.warning(
        "training needs about %s of memory, and %s are free; use %s",
        _said(wanted.total),
        _said(there),
        _advice(options, estimator, there, model.device),
    )


def held_too(wanted: MemoryEstimate) -> int:
    """What a process on a CPU holds beside its tensors while the C library keeps what they free."""
    return min(4 * wanted.activations, max(_KEPT_AT_LEAST, wanted.activations // 2))


def _longest_batch(
    kind: TrainingKind,
    options: TrainOptions,
    hyper: ResolvedHyperparameters,
    model: Retriever,
    examples: ExampleDataset,
) -> list[torch.Tensor]:
    """The attention masks of a batch, as long as batches of this run get."""
    # A collator of its own: the run's counts the texts that it cuts.
    collator = kind.collator(model, examples.data, options.text.train_max_length or model.config.document_max_length)
    size = min(hyper.batch_size, len(examples))
    starts = {0, (len(examples) - size) // 2, len(examples) - size}
    batches = [collator([examples.peek(number) for number in range(start, start + size)]) for start in sorted(starts)]
    masks = [[value for name, value in batch.items() if name.endswith("mask")] for batch in batches]
    return max(masks, key=lambda batch: sum(int(mask.sum()) for mask in batch))


def _advice(options: TrainOptions, estimator: MemoryEstimator, there: int, device: torch.device) -> str:
    """The options that save most and are not in use yet."""
    now, ways = options.objective.grad_cache, []
    smaller = [size for size in (64, 32, 16, 8, 4, 2, 1) if now is None or size < now]
    fits = [size for size in smaller if estimator.estimate(size).total <= there]
    if smaller:
        ways.append(f"--grad-cache {fits[0] if fits else smaller[-1]}")
    if not fits and not options.memory.gradient_checkpointing:
        ways.append("--gradient-checkpointing")
    if device.type == "cuda" and options.memory.quantize is None and options.tuning.chosen_method.is_adapter:
        ways.append("--quantize 4bit")
    return " or ".join(ways) or "a smaller backbone, or a machine with more"


def _said(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"

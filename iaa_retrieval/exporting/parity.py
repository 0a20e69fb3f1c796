"""Whether what is exported computes what the model computes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.exporting.source import Source
from iaa_retrieval.inference.batching import pad

TOLERANCE = 1e-4  # largest absolute difference of any number in a vector, or of a score

Inputs = dict[str, torch.Tensor]


def sample_shapes(max_length: int) -> list[tuple[int, int]]:
    """Batch sizes and lengths in tokens, from one shortest text to a batch of the longest."""
    lengths = sorted({3, min(17, max_length), max(3, max_length // 2), max_length})
    return list(zip((1, 2, 5, 3), lengths, strict=False))


def sample_batch(source: Source, batch: int, tokens: int) -> Inputs:
    """Random token ids [batch, tokens], the same at every call, in rows of different lengths with padding."""
    generator = torch.Generator().manual_seed(1000 * batch + tokens)
    tokenizer = source.model.tokenizer
    special = set(tokenizer.all_special_ids)
    words = [number for number in range(len(tokenizer)) if number not in special]
    lengths = [max(2, tokens - row * tokens // (batch + 1)) for row in range(batch)]
    choices = torch.randint(len(words), (batch, tokens), generator=generator).tolist()
    rows = [[words[choice] for choice in row[:length]] for row, length in zip(choices, lengths, strict=True)]
    cpu = torch.device("cpu")
    ids, mask = pad(rows, tokenizer.pad_token_id or 0, cpu, max(lengths))
    segments, _ = pad([[0] * (length // 2) + [1] * (length - length // 2) for length in lengths], 0, cpu, max(lengths))
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    return {name: inputs[name] for name in source.input_names}


class Reference:
    """What a model gives, before anything is done to it, for batches of several sizes and lengths.

    Attributes:
        batches: the inputs.
        outputs: the model's output for each.
    """

    def __init__(self, source: Source) -> None:
        self.batches = [sample_batch(source, *shape) for shape in sample_shapes(source.max_length)]
        self.outputs = [source.run(inputs) for inputs in self.batches]

    def require_equal(self, what: str, run: Callable[[Inputs], torch.Tensor]) -> float:
        """The largest absolute difference between the outputs and what ``run`` gives.

        Raises:
            IaaRetrievalError: another shape, or a difference above ``TOLERANCE``; ``what`` names the other side.
        """
        largest = 0.0
        for inputs, right in zip(self.batches, self.outputs, strict=True):
            found = run(inputs)
            shape = "x".join(str(size) for size in inputs["input_ids"].shape)
            if found.shape != right.shape:
                raise IaaRetrievalError(
                    f"{what} gives {list(found.shape)} numbers for {shape} tokens, the model {list(right.shape)}; "
                    "nothing was written"
                )
            difference = float((found - right).abs().max())
            if not difference <= TOLERANCE:  # also where it is not a number
                raise IaaRetrievalError(
                    f"{what} differs from the model by {difference:.1e} for {shape} tokens, above {TOLERANCE:.0e}; "
                    "nothing was written"
                )
            largest = max(largest, difference)
        return largest

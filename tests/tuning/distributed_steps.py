"""A few training steps of some methods, by one process or, under torchrun, by two on half of the batch each."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tuning_models import sizes_of

from iaa_retrieval.training.network_settings import set_dropout
from iaa_retrieval.tuning.apply import EMBEDDING_TASK, apply_method

STEPS = 3


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask of four texts, (4, 9) each; two of them are shorter."""
    ids = torch.randint(5, 100, (4, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 6:] = mask[2, 4:] = 0
    return ids, mask


def train(method: str, backbone: str, part: slice, distributed: bool) -> dict[str, torch.Tensor]:
    """The trained parameters after a few steps on ``part`` of the texts."""
    from transformers import AutoModel

    torch.manual_seed(7)
    encoder = AutoModel.from_pretrained(backbone)
    set_dropout(encoder, 0.0)
    tuned = apply_method(encoder, method, sizes_of(method), task_type=EMBEDDING_TASK).train()
    model: torch.nn.Module = tuned
    if distributed:
        model = torch.nn.parallel.DistributedDataParallel(tuned, find_unused_parameters=False)
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], lr=0.1)
    ids, mask = (values[part] for values in texts())
    for _ in range(STEPS):
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        loss = (states[:, :, :5] * mask[:, :, None]).square().sum(dim=(1, 2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: p.detach() for name, p in tuned.named_parameters() if p.requires_grad}


def main(output: str, *jobs: str) -> None:
    """Each job is a backbone's directory and the methods to train on it, with commas between all."""
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    for job in jobs:
        backbone, *methods = job.split(",")
        for method in methods:
            part = slice(2 * rank, 2 * rank + 2)
            file = Path(output) / f"{Path(backbone).name}-{method}-{rank}.pt"
            torch.save(train(method, backbone, part, distributed=True), file)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

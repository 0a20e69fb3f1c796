"""Run by torchrun: each of two processes takes its half of a batch and prints the loss and averaged gradient."""

import json
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parent))
from test_chunks import data, loss_and_gradients, objective

from iaa_retrieval.training.collators import BiEncoderCollator
from iaa_retrieval.training.data import ExampleDataset

if __name__ == "__main__":
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    made, _ = objective("bi-encoder", sys.argv[1], grad_cache=3 if sys.argv[3] == "cached" else None)
    examples = [ExampleDataset(data(), 2, seed=1)[n] for n in range(12)]
    part = examples[:5] if rank == 0 else examples[5:]  # the parts need not be equally large
    made.distillation = None
    batch = BiEncoderCollator(made.bi_encoder, data(), 32)(part)
    loss, gradients = loss_and_gradients(DistributedDataParallel(made.eval()), batch)
    torch.save(gradients, Path(sys.argv[2]) / f"gradients-{rank}.pt")
    (Path(sys.argv[2]) / f"loss-{rank}.json").write_text(json.dumps(loss))
    distributed.destroy_process_group()

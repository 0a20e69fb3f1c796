"""Run by torchrun: a whole run that writes down what it draws, and one killed in its second epoch and resumed."""

import json
import sys
from pathlib import Path

import pytest
from torch import distributed

sys.path.insert(0, str(Path(__file__).parent))
from interruptions import Killed, kill_after_steps
from test_resuming import record_draws

from iaa_retrieval.options import changed
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

if __name__ == "__main__":
    directory = Path(sys.argv[1])
    options = {name: TrainOptions.of(**v) for name, v in json.loads((directory / "options.json").read_text()).items()}
    drawn: list[tuple[int, int, list[str]]] = []
    with pytest.MonkeyPatch.context() as patch:
        record_draws(patch, lambda epoch, index, ids: drawn.append((epoch, index, ids)))
        train_retriever(options["whole"])
    lines = "".join(json.dumps(draw) + "\n" for draw in drawn)
    (directory / f"drawn-{distributed.get_rank()}.jsonl").write_text(lines)
    with pytest.MonkeyPatch.context() as patch:
        kill_after_steps(patch, 5)
        with pytest.raises(Killed):
            train_retriever(options["killed"])
    train_retriever(changed(options["killed"], resume=True))
    distributed.destroy_process_group()

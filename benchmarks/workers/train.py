"""Train on SciFact for some steps and print the seconds of each: TRAINER METHOD BATCH STEPS DROPOUT RUN.

TRAINER is ours or sentence-transformers; the rest of the examples, loss, batch, precision and dropout is the same.
"""

import json
import sys
import tempfile
import time
from itertools import pairwise
from typing import Any

import transformers.trainer
from transformers import TrainerCallback

DIMENSIONS = {"iaa-l": {"r": 10, "ar": 10}, "lora": {"r": 13}}
MAX_LENGTH, TEMPERATURE = 128, 0.05


class StepTimer(TrainerCallback):  # type: ignore[misc]
    """Remembers when each step ended."""

    ends: list[float] = []  # noqa: RUF012

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Called by the trainer of either side."""
        StepTimer.ends.append(time.perf_counter())


def options(method: str, batch: int, steps: int, dropout: float | None, run: str, output: str) -> Any:
    """What is trained."""
    from iaa_retrieval.training.options import TrainOptions

    return TrainOptions.of(
        kind="bi-encoder",
        collection="beir/scifact/train",
        output=output,
        method=method,
        **DIMENSIONS.get(method, {}),
        negatives=run,
        max_steps=steps,
        batch_size=batch,
        dropout=dropout,
        train_max_length=MAX_LENGTH,
        query_max_length=MAX_LENGTH,
        temperature=TEMPERATURE,
        device="cpu",
    )


def train_with_sentence_transformers(asked: Any) -> None:
    """The same examples, loss, batch, precision and parameters through sentence-transformers' trainer."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    from benchmarks.processes import MINILM
    from iaa_retrieval.collections.runs import read_run
    from iaa_retrieval.models.precision import choose_precision
    from iaa_retrieval.training.data import ExampleDataset
    from iaa_retrieval.training.judgments import load_judgments, mine_training_data
    from iaa_retrieval.training.kinds import TRAINING_KINDS
    from iaa_retrieval.tuning.apply import method_config

    kind = TRAINING_KINDS[asked.kind]
    judgments = load_judgments(asked.data, asked.dev, asked.seed)
    data = mine_training_data(kind, asked.data, judgments, read_run(asked.data.negatives), 1)
    dataset = ExampleDataset(data, 1, asked.seed)
    examples = [dataset[number] for number in range(len(dataset))]
    columns = {
        "anchor": [data.queries[example.query_id] for example in examples],
        "positive": [data.passages[example.passage_ids[0]] for example in examples],
        "negative": [data.passages[example.passage_ids[1]] for example in examples],
    }
    model = SentenceTransformer(MINILM, device="cpu")
    model.max_seq_length = MAX_LENGTH
    if asked.tuning.method != "full":
        model.add_adapter(method_config(model[0].auto_model, asked.tuning.method, DIMENSIONS[asked.tuning.method]))
    for module in model.modules():
        if type(module).__name__ == "Dropout":
            module.p = asked.tuning.dropout
    arguments = Arguments(
        output_dir=asked.output,
        max_steps=asked.optimisation.max_steps,
        per_device_train_batch_size=asked.optimisation.batch_size,
        learning_rate=1e-3,
        bf16=choose_precision("auto", "cpu") == "bf16",
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    loss = MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
    SentenceTransformerTrainer(model, arguments, train_dataset=Dataset.from_dict(columns), loss=loss).train()


def main() -> None:
    """Parse the words, train, print."""
    trainer, method, batch, steps, dropout, run = sys.argv[1:]
    transformers.trainer.DEFAULT_CALLBACKS.append(StepTimer)
    with tempfile.TemporaryDirectory() as directory:
        rate = None if dropout == "default" else float(dropout)
        asked = options(method, int(batch), int(steps), rate, run, f"{directory}/model")
        if trainer == "ours":
            from iaa_retrieval.process import prepare_process
            from iaa_retrieval.training.run import train_retriever

            prepare_process()  # as the verb does
            train_retriever(asked)
        else:
            train_with_sentence_transformers(asked)
    ends = StepTimer.ends
    print(json.dumps([later - earlier for earlier, later in pairwise(ends)]))


if __name__ == "__main__":
    main()

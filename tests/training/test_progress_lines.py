import logging
from types import SimpleNamespace

import pytest

from iaa_retrieval.training import progress_lines
from iaa_retrieval.training.progress_lines import ProgressLines


def test_steps_and_dev_scores_are_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = iter([100.0, 110.0, 140.0, 150.0])
    monkeypatch.setattr(progress_lines, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(progress_lines.sys.stderr, "isatty", lambda: False, raising=False)
    state = SimpleNamespace(global_step=50, max_steps=150, log_history=[], is_world_process_zero=True)
    lines = ProgressLines()
    with caplog.at_level(logging.INFO, "iaa_retrieval"):
        lines.on_train_begin(None, state, None)  # resumed at step 50
        state.global_step = 55
        lines.on_step_end(None, state, None)
        state.global_step, state.log_history = 70, [{"loss": 0.5}, {"loss": 0.25}, {"eval_nDCG@10": 0.5}]
        lines.on_step_end(None, state, None)
        lines.on_evaluate(None, state, None, {"eval_nDCG@10": 0.71234, "eval_MRR@10": 0.5, "epoch": 1.5})
        lines.on_step_end(None, state, None)
    assert caplog.messages == [
        "training: 20 of 100 steps (20 %), 2.0 s per step, 2 min 40 s left, loss 0.2500",
        "step 70 of 150: dev nDCG@10 0.7123, MRR@10 0.5000",
    ]

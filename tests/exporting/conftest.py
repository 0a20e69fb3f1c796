"""Exports of really trained checkpoints on tiny backbones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from checkpoints import trained
from exports import changed_copy, with_settings

from iaa_retrieval.jobs.export import Exported, ExportOptions, export


class Export(NamedTuple):
    """An exported directory, the model in memory that its checkpoint was written from, and the report."""

    path: Path
    model: Any
    report: Exported


@pytest.fixture
def exported(tiny_backbone: Callable[[str], Path], tmp_path: Path) -> Callable[..., Export]:
    """``exported("onnx", "bi-encoder", "iaa-l")``; ``settings`` change ``retriever.json`` before the export."""

    def make(export_format: str, kind: str, method: str, model_type: str = "bert", **settings: Any) -> Export:
        done = trained(kind, method, tiny_backbone(model_type))
        checkpoint, model = done.path, done.model
        if settings:
            checkpoint = changed_copy(checkpoint, tmp_path / "changed", **settings)
            model = with_settings(model, **settings)
        output = tmp_path / "exported"
        report = export(ExportOptions(str(checkpoint), export_format, str(output)))
        return Export(output, model, report)

    return make

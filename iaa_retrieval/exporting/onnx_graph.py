"""One ONNX graph from token ids to vectors or scores, compared with the model by onnxruntime.

The TorchScript exporter is used: it traces our hooks as they are and needs the small package ``onnx`` only, where
the newer one needs onnxscript as well.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.exporting.merged import NotMergeableError, merge
from iaa_retrieval.exporting.parity import Inputs, sample_batch
from iaa_retrieval.exporting.source import Source, load_source

GRAPH_FILE = "model.onnx"
OPSET = 17  # the first with a layer normalisation of its own
_TRACED_SHAPE = (2, 7)  # unlike every shape that is compared


def output_name(source: Source) -> str:
    """What the graph's only output is called: "vectors" [batch, d], or "scores" [batch]."""
    return "scores" if source.model.reads_pairs else "vectors"


def write_graph(source: Source, directory: Path) -> None:
    """Write the graph, the tokenizer and ``retriever.json``.

    The graph's inputs are those of ``Source.input_names`` that it uses, int64 [batch, tokens], both free.

    Raises:
        IaaRetrievalError: a part of the network has no counterpart in ONNX.
    """
    source = _merged_if_possible(source)
    _trace(source, directory / GRAPH_FILE)
    source.save_tokenizer(directory, OnnxRunner(directory).input_names)
    source.config.save(directory)


def _merged_if_possible(source: Source) -> Source:
    """What merges makes a smaller graph, without operators that only an adapter needs and ONNX may lack."""
    try:
        merge(source)
    except NotMergeableError:
        return load_source(source.name, source.config.truncate_dim)
    return source


def _trace(source: Source, path: Path) -> None:
    inputs = sample_batch(source, *_TRACED_SHAPE)
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: "tokens"} for name in inputs}
    axes[output_name(source)] = {0: "batch"}
    with warnings.catch_warnings(), torch.no_grad():
        # It warns of being the old exporter, and of every shape that it takes for a constant: the comparison decides.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                _Graph(source.model, tuple(inputs)).eval(),
                tuple(inputs.values()),
                str(path),
                input_names=list(inputs),
                output_names=[output_name(source)],
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
        except RuntimeError as error:  # OnnxExporterError is one; what torch's tracer stumbles over is another
            raise IaaRetrievalError(f"{source.name} has no ONNX graph: {error}") from error


class _Graph(nn.Module):
    """The model with its inputs by position, as the exporter wants them."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.model(**dict(zip(self.names, inputs, strict=True)))


class OnnxRunner:
    """The graph of an exported directory in onnxruntime.

    Attributes:
        input_names: what the graph takes; an input that the network does not use (MPNet has no segments) is not in it.
    """

    def __init__(self, directory: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised, and reported once
        path = str(directory / GRAPH_FILE)
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input_names = [entry.name for entry in self._session.get_inputs()]

    def run(self, inputs: Inputs) -> torch.Tensor:
        """Vectors or scores of one batch.

        Raises:
            IaaRetrievalError: the graph does not take a batch of this shape.
        """
        arrays = {name: inputs[name].numpy() for name in self.input_names}
        try:
            return torch.from_numpy(self._session.run(None, arrays)[0])
        except Exception as error:  # onnxruntime's errors share no class; such a graph has a shape traced into it
            shape = "x".join(str(size) for size in inputs["input_ids"].shape)
            raise IaaRetrievalError(f"onnxruntime cannot run the ONNX graph on {shape} tokens: {error}") from error

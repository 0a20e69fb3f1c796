"""``model.onnx`` from token ids to vectors or scores, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from iaa_retrieval.exporting.base import ExportFormat, Run
from iaa_retrieval.exporting.readme import python_block

if TYPE_CHECKING:
    from iaa_retrieval.exporting.source import Source


class OnnxFormat(ExportFormat):
    """One graph, with the tokenizer that feeds it."""

    name = "onnx"
    help = (
        "model.onnx from token ids to vectors or scores, any batch size and length, run by onnxruntime; "
        "needs pip install 'iaa-retrieval[onnx]'"
    )
    requires = ("onnx", "onnxruntime")
    requires_advice = "ONNX needs the package {package}; pip install 'iaa-retrieval[onnx]'"

    def write(self, source: Source, directory: Path) -> bool:
        """Write the graph, merged where the method merges.

        Raises:
            IaaRetrievalError: a part of the network has no counterpart in ONNX.
        """
        from iaa_retrieval.exporting.onnx_graph import write_graph

        write_graph(source, directory)
        return True

    def read(self, directory: Path) -> Run:
        from iaa_retrieval.exporting.onnx_graph import OnnxRunner

        return OnnxRunner(directory).run

    def usage(self, source: Source, name: str, *, merged: bool) -> str:
        from iaa_retrieval.exporting.onnx_graph import GRAPH_FILE, output_name

        config = source.config
        query = f"{config.query_lead}a query{config.query_suffix}"
        passage = f"{config.document_lead}a passage{config.document_suffix}"
        texts = f"[{query!r}]" + (f", [{passage!r}]" if source.model.reads_pairs else "")
        output = output_name(source)
        return python_block(
            "import onnxruntime\nfrom transformers import AutoTokenizer\n\n"
            f'tokenizer = AutoTokenizer.from_pretrained("{name}")\n'
            f'session = onnxruntime.InferenceSession("{name}/{GRAPH_FILE}")\n'
            f'inputs = dict(tokenizer({texts}, padding=True, truncation=True, return_tensors="np"))\n'
            f'{output} = session.run(["{output}"], inputs)[0]\n'
        )

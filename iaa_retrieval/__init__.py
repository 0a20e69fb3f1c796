"""Parameter-efficient dense retrieval and re-ranking for Pyserini.

What a program needs is imported from here (``from iaa_retrieval import load_retriever``) and loaded when it is asked
for; docs/api.md shows all of it. Importing this package makes our tuning methods known to PEFT as soon as PEFT itself
is imported, so ``peft.PeftModel.from_pretrained`` and ``transformers.AutoModel.from_pretrained`` load our checkpoints.
"""

import importlib
from typing import TYPE_CHECKING, Any

from iaa_retrieval._registration import register_when_peft_is_imported
from iaa_retrieval._version import __version__

if TYPE_CHECKING:
    from iaa_retrieval.collections.base import Collection
    from iaa_retrieval.collections.loading import load_collection
    from iaa_retrieval.collections.runs import read_run, write_run
    from iaa_retrieval.collections.sources import register_source
    from iaa_retrieval.errors import IaaRetrievalError, UsageError
    from iaa_retrieval.exporting.formats import register_format as register_export
    from iaa_retrieval.inference.adapter_server import AdapterServer
    from iaa_retrieval.inference.backends import register_backend
    from iaa_retrieval.jobs.adapt_queries import adapt_queries
    from iaa_retrieval.jobs.encode import encode_corpus
    from iaa_retrieval.jobs.encode_queries import encode_queries
    from iaa_retrieval.jobs.evaluate import evaluate_run
    from iaa_retrieval.jobs.rerank import rerank_run
    from iaa_retrieval.jobs.train import train_bi_encoder, train_cross_encoder
    from iaa_retrieval.jobs.train_vector_adapter import train_vector_adapter
    from iaa_retrieval.models.bi_encoder import BiEncoder
    from iaa_retrieval.models.cross_encoder import CrossEncoder
    from iaa_retrieval.models.kinds import load_retriever
    from iaa_retrieval.models.retriever import Retriever
    from iaa_retrieval.process import prepare_process
    from iaa_retrieval.training.losses.registry import register_loss
    from iaa_retrieval.tuning.methods.registry import register as register_method

__all__ = [
    "AdapterServer",
    "BiEncoder",
    "Collection",
    "CrossEncoder",
    "IaaRetrievalError",
    "Retriever",
    "UsageError",
    "__version__",
    "adapt_queries",
    "encode_corpus",
    "encode_queries",
    "evaluate_run",
    "load_collection",
    "load_retriever",
    "prepare_process",
    "read_run",
    "register_backend",
    "register_export",
    "register_loss",
    "register_method",
    "register_source",
    "rerank_run",
    "train_bi_encoder",
    "train_cross_encoder",
    "train_vector_adapter",
    "write_run",
]

# Where each name is defined, as module:attribute; what type checkers read above says the same. A function never has the
# name of a verb's module (evaluate, rerank), which would take its place here once it is imported.
_DEFINED_IN = {
    "AdapterServer": "inference.adapter_server:AdapterServer",
    "BiEncoder": "models.bi_encoder:BiEncoder",
    "Collection": "collections.base:Collection",
    "CrossEncoder": "models.cross_encoder:CrossEncoder",
    "IaaRetrievalError": "errors:IaaRetrievalError",
    "Retriever": "models.retriever:Retriever",
    "UsageError": "errors:UsageError",
    "adapt_queries": "jobs.adapt_queries:adapt_queries",
    "encode_corpus": "jobs.encode:encode_corpus",
    "encode_queries": "jobs.encode_queries:encode_queries",
    "evaluate_run": "jobs.evaluate:evaluate_run",
    "load_collection": "collections.loading:load_collection",
    "load_retriever": "models.kinds:load_retriever",
    "prepare_process": "process:prepare_process",
    "read_run": "collections.runs:read_run",
    "register_backend": "inference.backends:register_backend",
    "register_export": "exporting.formats:register_format",
    "register_loss": "training.losses.registry:register_loss",
    "register_method": "tuning.methods.registry:register",
    "register_source": "collections.sources:register_source",
    "rerank_run": "jobs.rerank:rerank_run",
    "train_bi_encoder": "jobs.train:train_bi_encoder",
    "train_cross_encoder": "jobs.train:train_cross_encoder",
    "train_vector_adapter": "jobs.train_vector_adapter:train_vector_adapter",
    "write_run": "collections.runs:write_run",
}

register_when_peft_is_imported()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _DEFINED_IN[name].partition(":")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not, beside what a module has."""
    return sorted({*globals(), *__all__})

"""``retriever.json``: what makes a checkpoint, and everything made with it, self-describing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import OURS, read_json, write_json
from iaa_retrieval.tuning.methods import UNTUNED

FILE_NAME = OURS
VECTOR_ADAPTER = "vector-adapter"  # a kind that retrieves nothing by itself, see ``models.vector_adapter``
PAIR_FIELDS = ("pair_template", "pair_instruction", "pair_tokens")
_LEFT_OUT_WHEN_UNSET = (
    "interpolation",
    "truncate_dim",
    "documents",
    "query_suffix",
    "document_suffix",
    "append_token",
    *PAIR_FIELDS,
)


@dataclass(frozen=True)
class Interpolation:
    """How much of a re-ranker's score, and how much of the first stage's, ranked dev queries best.

    Attributes:
        weight: of the re-ranker's score, from 0 (the first stage alone) to 1 (the re-ranker alone); the first stage's
            has the rest.
        first_stage: name of the file of the first stage's run, which the dev queries' candidates came from.
        tag: of that run, its last column.
        queries: how many dev queries there were.
        depth: the most candidates that any of them had.
        metric: what was compared, such as ``nDCG@10``.
        first_stage_score, score, bare_score: its mean over the dev queries at the weights 0, ``weight`` and 1.
    """

    weight: float
    first_stage: str
    tag: str
    queries: int
    depth: int
    metric: str
    first_stage_score: float
    score: float
    bare_score: float


@dataclass(frozen=True)
class FrozenDocuments:
    """Which encoder made the vectors that queries were tuned for; it is frozen, and its indexes stay in use.

    Attributes:
        encoder: its name: a backbone, or the checkpoint that the queries' adapter started from.
        fingerprint: its own, which its indexes carry.
        adapter: whether it is the backbone with the frozen adapter in ``passage/``, or the backbone alone.
    """

    encoder: str
    fingerprint: str
    adapter: bool = False


@dataclass(frozen=True)
class RetrieverConfig:
    """How text becomes vectors or scores, and where the weights came from.

    Lengths are in tokens, special tokens included. Prefixes are joined to the text with one space, as Pyserini
    does; prompts are put before it as they are, as sentence-transformers does, and suffixes after it. The tokenizer
    ends every text with ``append_token``, which it would not do by itself. ``fingerprint`` is a hash of every
    weight and setting that a vector depends on: two artefacts with the same ``index_fingerprint`` may be searched
    together.
    ``interpolation`` is what a re-ranker's training chose on its dev queries; None is the bare score. ``documents`` are
    those for which queries alone were tuned; None where the documents' encoder was trained too.
    """

    kind: str  # "bi-encoder" or "cross-encoder"
    method: str = UNTUNED.name
    dimensions: dict[str, int] = field(default_factory=dict)
    trainable_parameters: dict[str, int] = field(default_factory=dict)  # weights, biases, heads; of all adapters
    separate_encoders: bool = False  # an adapter for queries and one for passages; bi-encoders only
    backbone: str = ""
    backbone_fingerprint: str = ""
    pooling: str = "mean"  # "mean", "cls" or "last"; bi-encoders only
    normalize: bool = True
    truncate_dim: int | None = None  # numbers that are kept of a vector; None: all; bi-encoders only
    similarity: str = "dot"
    head: str = "pooler"  # from token vectors to a score, see ``models.heads``; cross-encoders only
    encoder_class: str = ""  # the class of stock Pyserini that made an index; empty: an encoder of this package
    pair_template: str = ""  # one text of both, see ``models.pair_template``; empty: as the tokenizer joins two texts
    pair_instruction: str = ""  # what stands for ``{instruction}`` in it
    pair_tokens: tuple[str, ...] = ()  # two words whose log-odds are the score; only of heads of the vocabulary
    query_prefix: str = ""
    document_prefix: str = ""
    query_prompt: str = ""
    document_prompt: str = ""
    query_suffix: str = ""
    document_suffix: str = ""
    append_token: str = ""  # empty: texts end as the tokenizer ends them
    query_max_length: int = 64
    document_max_length: int = 256
    tokenizer_fingerprint: str = ""
    fingerprint: str = ""
    training: dict[str, Any] = field(default_factory=dict)  # data, seed, steps, loss, hyper-parameters
    versions: dict[str, str] = field(default_factory=dict)
    dev_scores: dict[str, float] = field(default_factory=dict)
    interpolation: Interpolation | None = None  # cross-encoders only
    documents: FrozenDocuments | None = None  # bi-encoders only

    @property
    def index_fingerprint(self) -> str:
        """Of all that a document's vector depends on: what an index must carry to be searched."""
        return self.fingerprint if self.documents is None else self.documents.fingerprint

    @property
    def documents_have_weights(self) -> bool:
        """Whether a checkpoint with separate encoders has an adapter for documents; else the backbone encodes them."""
        return self.documents is None or self.documents.adapter

    @property
    def is_untuned(self) -> bool:
        """Whether these are a plain encoder's settings, not those of a checkpoint of ours."""
        return self.method == UNTUNED.name

    @property
    def matryoshka(self) -> tuple[int, ...]:
        """The sizes to which vectors may be cut because training minded them, largest first."""
        return tuple(self.training.get("matryoshka") or ())

    @property
    def query_lead(self) -> str:
        """All that goes before a query's text, to the letter."""
        return self.query_prompt + (f"{self.query_prefix} " if self.query_prefix else "")

    @property
    def document_lead(self) -> str:
        """All that goes before a document's text, to the letter."""
        return self.document_prompt + (f"{self.document_prefix} " if self.document_prefix else "")

    def save(self, directory: str | Path) -> None:
        """Write ``retriever.json`` into ``directory``."""
        values = asdict(self)
        for name in _LEFT_OUT_WHEN_UNSET:  # so that versions without them read what has none
            if not values[name]:
                del values[name]
        write_json(Path(directory) / FILE_NAME, values)


def read_retriever_config(directory: str | Path) -> RetrieverConfig | None:
    """The configuration in ``directory``, or None where there is none (a plain Hugging Face directory)."""
    path = Path(directory) / FILE_NAME
    if not path.is_file():
        return None
    values = read_json(path)
    if isinstance(values, dict) and values.get("kind") == VECTOR_ADAPTER:
        raise IaaRetrievalError(
            f"{directory} is a vector adapter, which maps vectors of queries and encodes no text; "
            "python -m iaa_retrieval.encode query-vectors --adapter takes it"
        )
    known = _names(RetrieverConfig)
    if not isinstance(values, dict) or "kind" not in values or not set(values) <= known:
        unknown = sorted(set(values) - known) if isinstance(values, dict) else []
        raise IaaRetrievalError(
            f"{path} is not a retriever configuration of this version"
            + (f" (unknown: {', '.join(unknown)})" if unknown else "")
        )
    learnt = values.get("interpolation")
    if learnt is not None:
        if not isinstance(learnt, dict) or set(learnt) != _names(Interpolation) or not 0 <= learnt["weight"] <= 1:
            raise IaaRetrievalError(f"{path}: its interpolation is not that of a checkpoint of this version")
        values["interpolation"] = Interpolation(**learnt)
    values["pair_tokens"] = tuple(values.get("pair_tokens", ()))
    frozen = values.get("documents")
    if frozen is not None:
        if not isinstance(frozen, dict) or set(frozen) != _names(FrozenDocuments):
            raise IaaRetrievalError(f"{path}: its documents are not those of a checkpoint of this version")
        values["documents"] = FrozenDocuments(**frozen)
    return RetrieverConfig(**values)


def _names(cls: type[Any]) -> set[str]:
    return {entry.name for entry in fields(cls)}


def require_same_encoder(left: str, left_fingerprint: str, right: str, right_fingerprint: str) -> None:
    """Refuse to use together two things that different encoders made.

    Args:
        left, right: how to name either side in the error (a path).
        left_fingerprint, right_fingerprint: their encoders' fingerprints; empty means unknown, which passes.
    """
    if left_fingerprint and right_fingerprint and left_fingerprint != right_fingerprint:
        raise IaaRetrievalError(
            f"{left} (encoder {left_fingerprint[:12]}) and {right} (encoder {right_fingerprint[:12]}) were made by "
            "different encoders; encode the corpus again with the encoder of the queries"
        )

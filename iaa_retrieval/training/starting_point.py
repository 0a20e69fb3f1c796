"""The weights of a finished checkpoint as the start of another training run, of the same kind or of the other.

What is taken is what the method trained inside the encoder. A cross-encoder's head is taken too where the run makes a
cross-encoder with the same head; else it is fresh.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from iaa_retrieval.errors import UsageError
from iaa_retrieval.files import read_json
from iaa_retrieval.models.backbone import load_network
from iaa_retrieval.models.checkpoint import FULL_FILE, PASSAGE_DIRECTORY, QUERY_DIRECTORY, require_weights
from iaa_retrieval.models.kinds import fingerprint_of, retriever_class
from iaa_retrieval.models.new_retriever import pair_settings_of
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.training.option_groups import TuningOptions
from iaa_retrieval.training.text_options import TextOptions
from iaa_retrieval.tuning.methods import ADAPTER_NAME

LOG = logging.getLogger("iaa_retrieval")

_WITHIN_PEFT = "base_model.model."  # before every name in an adapter's file
# What PEFT's configurations say that has no part in what an adapter computes.
_WITHOUT_EFFECT = (
    "task_type inference_mode base_model_name_or_path revision peft_version target_modules exclude_modules "
    "layers_pattern init_lora_weights init_weights lora_dropout dropout module_dropout"
).split()


@dataclass(frozen=True)
class StartingPoint:
    """A checkpoint that another run starts from.

    Attributes:
        path: its directory.
        config: its settings.
    """

    path: str
    config: RetrieverConfig

    def text_options(self, kind: str, text: TextOptions) -> TextOptions:
        """``text``, with the checkpoint's pooling, head and end of texts where it says none and the kind is the same.

        Args:
            kind: of the retriever that is trained.
            text: what the user asks for.
        """
        if kind != self.config.kind:
            return text
        pooling, normalize, head = text.pooling, text.normalize, text.head
        if head in (None, self.config.head):
            text = replace(text, **self._pair_options(text))
        return replace(
            text,
            pooling=self.config.pooling if pooling is None else pooling,
            normalize=self.config.normalize if normalize is None else normalize,
            head=self.config.head if head is None else head,
            append_eos=text.append_eos or bool(self.config.append_token),
        )

    def _pair_options(self, text: TextOptions) -> dict[str, Any]:
        """What ``text`` says of template and words, and where it says nothing what the checkpoint has."""
        pair = text.pair.or_else(pair_settings_of(self.config))
        return {"pair_template": pair.template, "pair_instruction": pair.instruction, "pair_tokens": pair.tokens}

    def require_same(self, model: Retriever, tuning: TuningOptions, *, queries_alone: bool = False) -> None:
        """Refuse what cannot carry the checkpoint's weights, before a method is put on it.

        Args:
            model: the bare backbone, as the kind that is trained.
            tuning: what shall be put on it.
            queries_alone: whether it shall encode queries only; then the passages' encoder stays as it is.

        Raises:
            UsageError: another backbone, tokenizer, method or number of encoders; both sides are named.
            IaaRetrievalError: weights that are not those of its ``retriever.json``.
        """
        start, own = self.config, model.config
        method = tuning.chosen_method
        if start.method != method.name:
            advice = (
                f"give it as --backbone, which {method.name} is then put on"
                if (Path(self.path) / FULL_FILE).is_file() and method.is_adapter
                else f"choose --method {start.method}"
            )
            self._refuse(f"was trained with method {start.method}, and this run trains {method.name}", advice)
        if method.is_adapter and (Path(self.path) / FULL_FILE).is_file():
            self._refuse("is a whole network, and this run trains an adapter", "give it as --backbone")
        if start.backbone_fingerprint != own.backbone_fingerprint:
            self._refuse(
                f"is on the backbone {start.backbone} (weights {start.backbone_fingerprint[:12]}), and this run's is "
                f"{own.backbone} (weights {own.backbone_fingerprint[:12]})",
                f"choose --backbone {start.backbone}",
            )
        if start.tokenizer_fingerprint != own.tokenizer_fingerprint:
            self._refuse(f"has another tokenizer than {own.backbone}", "train it again on this backbone")
        if start.head == own.head and start.pair_tokens != own.pair_tokens:
            self._refuse(
                f"answers {' or '.join(start.pair_tokens)}, and this run's answers are others",
                "leave --pair-tokens out",
            )
        if start.documents is not None and not queries_alone:
            self._refuse("was tuned on its queries alone", "add --tune queries and its --index")
        if not queries_alone and start.separate_encoders != tuning.separate_encoders:
            has = {True: "separate encoders for queries and passages", False: "one encoder"}
            self._refuse(
                f"has {has[start.separate_encoders]}, and this run trains {has[tuning.separate_encoders]}",
                "both must have the same",
            )
        require_weights(self.path, start, fingerprint_of)

    def require_dimensions(self, dimensions: Mapping[str, int]) -> None:
        """Refuse other dimensions than the checkpoint's.

        Raises:
            UsageError: both sides are named.
        """
        if dict(self.config.dimensions) != dict(dimensions):
            self._refuse(
                f"has {_said(self.config.dimensions)}, and this run trains {_said(dimensions)}",
                "leave budget and dimensions out",
            )

    def put_into(self, model: Retriever) -> None:
        """Give a model with a fresh method on it the checkpoint's weights, in place.

        Args:
            model: on the CPU, with the same method.

        Raises:
            UsageError: the adapters' settings or tensors differ; the first difference is named.
            IaaRetrievalError: the checkpoint's files cannot be read.
        """
        same_head = model.config.kind == self.config.kind and model.config.head == self.config.head
        if (Path(self.path) / FULL_FILE).is_file():
            self._put_whole(model, same_head)
        else:
            places = (QUERY_DIRECTORY, PASSAGE_DIRECTORY) if self.config.separate_encoders else (".",)
            for network, place in zip(model.networks, places[: len(model.networks)], strict=True):
                self._put_adapter(model, network, Path(self.path) / place, same_head)
        head = ""
        if model.has_task_head:
            head = ", its head included" if same_head else f", under a fresh head ({model.config.head})"
        LOG.info("training starts from the %s %s of %s%s", self.config.method, self.config.kind, self.path, head)

    def _put_whole(self, model: Retriever, same_head: bool) -> None:
        if same_head:
            source = retriever_class(self.config.kind).from_checkpoint(self.path, self.config)
            model.network.load_state_dict(source.network.state_dict())
            return
        from transformers import AutoModel

        weights = load_network(AutoModel, self.path, expects_more=True).state_dict()
        poolers = ("pooler.",)  # some task models leave the encoder's out; a fresh head trains its own
        kept = {name: tensor for name, tensor in weights.items() if not name.startswith(poolers)}
        missing, unexpected = model.backbone.load_state_dict(kept, strict=False)
        other = [name for name in (*missing, *unexpected) if not name.startswith(poolers)]
        if other:
            self._refuse(f"has another encoder: {other[0]} is on one side only", "train it again on this backbone")

    def _put_adapter(self, model: Retriever, network: Any, directory: Path, same_head: bool) -> None:
        from peft import get_peft_model_state_dict, set_peft_model_state_dict
        from peft.utils.save_and_load import load_peft_weights

        self._require_same_settings(network, directory)
        prefix = f"{model.backbone.base_model_prefix}."
        from_head = retriever_class(self.config.kind).has_task_head
        found = _by_place(load_peft_weights(str(directory), device="cpu"), prefix if from_head else "")
        own = get_peft_model_state_dict(network, adapter_name=ADAPTER_NAME, save_embedding_layers=False)
        wanted = _by_place(own, prefix if model.has_task_head else "")
        if not same_head:
            found, wanted = ({key: entry for key, entry in part.items() if key[0]} for part in (found, wanted))
        for key in sorted({*found, *wanted}):
            if key not in found or key not in wanted or found[key][1].shape != wanted[key][1].shape:
                shapes = [f"{list(part[key][1].shape)}" if key in part else "nothing" for part in (found, wanted)]
                self._refuse(
                    f"has {shapes[0]} at {key[1]}, where this run trains {shapes[1]}", "the adapters must be alike"
                )
        state = {**own, **{name: found[key][1] for key, (name, _) in wanted.items()}}
        set_peft_model_state_dict(network, state, adapter_name=ADAPTER_NAME)

    def _require_same_settings(self, network: Any, directory: Path) -> None:
        theirs, ours = read_json(directory / "adapter_config.json"), network.peft_config[ADAPTER_NAME].to_dict()
        for name in sorted({*theirs, *ours} - {*_WITHOUT_EFFECT}):
            left, right = theirs.get(name), ours.get(name)
            if left != right and isinstance(left, bool | int | float | str) and not isinstance(right, dict | list):
                self._refuse(f"was trained with {name} {left}, and this run has {right}", "give both the same")

    def _refuse(self, difference: str, advice: str) -> None:
        raise UsageError(f"--start-from {self.path} {difference}; {advice}")


def read_starting_point(path: str) -> StartingPoint:
    """The checkpoint that a run shall start from.

    Raises:
        UsageError: it is no trained checkpoint of this project.
    """
    config = read_retriever_config(path)
    if config is None or config.is_untuned:
        raise UsageError(
            f"--start-from {path} is no trained checkpoint of this project; a plain encoder is given as --backbone"
        )
    return StartingPoint(path, config)


def _by_place(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[tuple[bool, str], tuple[str, torch.Tensor]]:
    """Tensors by whether they are inside the encoder, and by their name there (or outside), with their own name.

    Args:
        prefix: of the encoder within the network; empty where the encoder is the network.
    """
    placed = {}
    for name, tensor in weights.items():
        inside = name.removeprefix(_WITHIN_PEFT)
        in_encoder = inside.startswith(prefix) and not inside.startswith(f"{prefix}pooler.")
        placed[in_encoder, inside.removeprefix(prefix) if in_encoder else inside] = (name, tensor)
    return placed


def _said(dimensions: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in dimensions.items()) or "no dimensions"

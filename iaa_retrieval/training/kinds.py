"""What differs between training a bi-encoder and training a cross-encoder, in one object for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from iaa_retrieval.collections.base import Collection
from iaa_retrieval.collections.types import Qrels, Run
from iaa_retrieval.inference.cuts import Cuts
from iaa_retrieval.models.backbone_checkpoint import read_backbone_checkpoint
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder
from iaa_retrieval.models.loading import Loading
from iaa_retrieval.models.new_retriever import new_bi_encoder, new_cross_encoder
from iaa_retrieval.models.retriever import Retriever
from iaa_retrieval.models.text_settings import TextSettings, read_text_settings
from iaa_retrieval.training.card_texts import BI_ENCODER_CARD, CROSS_ENCODER_CARD, CardTexts
from iaa_retrieval.training.collators import BiEncoderCollator, CrossEncoderCollator
from iaa_retrieval.training.data import Example, TrainingData, load_training_data
from iaa_retrieval.training.dev import bi_encoder_dev_evaluator, cross_encoder_dev_evaluator
from iaa_retrieval.training.losses.distillation import Distillation
from iaa_retrieval.training.objectives import BiEncoderObjective, CrossEncoderObjective
from iaa_retrieval.training.option_groups import DevOptions, ObjectiveOptions, TuningOptions
from iaa_retrieval.training.options import ResolvedHyperparameters
from iaa_retrieval.training.text_options import TextOptions

DEFAULT_QUERY_LENGTH = 64  # of a backbone that says none

DevEvaluator = Callable[[], dict[str, float]]


class Collator(Protocol):
    """Examples to a padded batch, counting the texts that are cut."""

    @property
    def cuts(self) -> tuple[Cuts, ...]:
        """What counts the texts that are cut."""

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """The keyword arguments of the objective's forward."""


@dataclass(frozen=True)
class TrainingKind:
    """How one kind of model is trained.

    Attributes:
        name: of the kind.
        new_model: a backbone (named) as a model of the kind, loaded as is said, before a method is put on it.
        compares_within_query: whether a positive is compared with the negatives of its own query only, so that
            every query needs some.
        collator: makes what the objective takes of examples; from the model, the data and the most tokens of a
            document (with its query, where both are one text).
        objective: model and loss in one module.
        dev_evaluator: a function that scores dev queries; from the model, the collection and judgments of the dev
            queries, the hits of a run for them, the options, the seed and the precision.
        card: what its model card says.
        load_data: the training data; from the collection, the judgments, the mined negatives of each query and the file
            that they come from.
        tunes_queries: whether queries alone are tuned, and documents' vectors stay as they are.
        finish_model: told of the model when its method is on it, with the options that it was made from.
        find_hits: a run of the training queries to take negatives from where none is named; from the model, the
            collection and judgments, the hits per query and the precision. None where negatives need a named run.
    """

    name: str
    new_model: Callable[[str, TextOptions, Loading], Retriever]
    compares_within_query: bool
    collator: Callable[[Any, TrainingData, int], Collator]
    objective: Callable[[Any, ResolvedHyperparameters, ObjectiveOptions], nn.Module]
    dev_evaluator: Callable[[Any, Collection, Qrels, Run, DevOptions, int, str], DevEvaluator]
    card: CardTexts
    load_data: Callable[[Collection, Qrels, Mapping[str, Sequence[str]], str], TrainingData] = load_training_data
    tunes_queries: bool = False
    finish_model: Callable[[Any, TuningOptions], None] | None = None
    find_hits: Callable[[Any, Collection, Qrels, int, str], Run] | None = None


def _new_bi_encoder(backbone: str, text: TextOptions, loading: Loading) -> BiEncoder:
    inherits = BiEncoder.is_kind_of(read_backbone_checkpoint(backbone))
    return new_bi_encoder(
        backbone,
        settings=None if inherits else _backbone_settings(backbone, text),
        pooling=text.pooling,
        normalize=text.normalize,
        append_eos=text.append_eos,
        loading=loading,
    )


def _new_cross_encoder(backbone: str, text: TextOptions, loading: Loading) -> CrossEncoder:
    return new_cross_encoder(backbone, pair=text.pair, loading=loading)


def _backbone_settings(backbone: str, text: TextOptions) -> TextSettings:
    """What a plain backbone says about its use; one that says nothing is pooled as works best untuned."""
    settings = read_text_settings(backbone)
    if text.asks_for_prompts:
        settings = replace(settings, unused_prompts="")
    if settings.from_metadata:
        return settings
    return replace(settings, pooling="mean", normalize=True, query_length=DEFAULT_QUERY_LENGTH)


def _bi_encoder_objective(
    model: BiEncoder, hyper: ResolvedHyperparameters, options: ObjectiveOptions
) -> BiEncoderObjective:
    return BiEncoderObjective(
        model, options.temperature, _distillation(hyper), options.grad_cache, hyper.loss, options.matryoshka or ()
    )


def _cross_encoder_objective(
    model: CrossEncoder, hyper: ResolvedHyperparameters, options: ObjectiveOptions
) -> CrossEncoderObjective:
    return CrossEncoderObjective(model, hyper.loss, _distillation(hyper), options.grad_cache)


def _distillation(hyper: ResolvedHyperparameters) -> Distillation | None:
    if hyper.distillation and hyper.distillation_weight and hyper.teacher_temperature:
        return Distillation(hyper.distillation, hyper.distillation_weight, hyper.teacher_temperature)
    return None


def _over_sampled_corpus(
    model: BiEncoder, collection: Collection, qrels: Qrels, hits: Run, dev: DevOptions, seed: int, precision: str
) -> DevEvaluator:
    return bi_encoder_dev_evaluator(
        model,
        collection,
        qrels,
        sample_size=dev.dev_documents,
        precision=precision,
        seed=seed,
        distractors={query_id: list(ranked) for query_id, ranked in hits.items()},
    )


def _over_run(
    model: CrossEncoder, collection: Collection, qrels: Qrels, hits: Run, dev: DevOptions, seed: int, precision: str
) -> DevEvaluator:
    return cross_encoder_dev_evaluator(model, collection, qrels, candidates=hits, precision=precision)


TRAINING_KINDS = {
    kind.name: kind
    for kind in (
        TrainingKind(
            BiEncoder.kind,
            new_model=_new_bi_encoder,
            compares_within_query=False,
            collator=BiEncoderCollator,
            objective=_bi_encoder_objective,
            dev_evaluator=_over_sampled_corpus,
            card=BI_ENCODER_CARD,
        ),
        TrainingKind(
            CrossEncoder.kind,
            new_model=_new_cross_encoder,
            compares_within_query=True,
            collator=CrossEncoderCollator,
            objective=_cross_encoder_objective,
            dev_evaluator=_over_run,
            card=CROSS_ENCODER_CARD,
        ),
    )
}

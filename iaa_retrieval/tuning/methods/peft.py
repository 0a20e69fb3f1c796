"""PEFT's own methods, each from a JSON object with ``peft_type`` and the fields of that type's configuration.

Only names are read without PEFT; what builds a configuration imports it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods.base import ADAPTER_NAME, IN_POOLER, Method, Place, Settings, Tuner, shares_state
from iaa_retrieval.tuning.methods.peft_refusals import BOOKKEEPING, REFUSED_TYPES, check_fields, supported_types
from iaa_retrieval.tuning.methods.peft_targets import default_targets, enters_pooler
from iaa_retrieval.tuning.methods.registry import methods
from iaa_retrieval.tuning.methods.scaling import Dimensions

_PLACE = Place(
    "what its PEFT type inserts",
    "the modules that its configuration targets",
    "as PEFT does it",
    "-",
    "-",
    "-",
    True,  # all but a few, whose tuners say so themselves
)


@dataclass(frozen=True, kw_only=True)
class PeftMethod(Method):
    """A PEFT type, with the fields of its configuration where it is to be trained.

    It has no dimensions: its configuration says all. Some of these tuners compute with the weights themselves.

    Attributes:
        peft_type: in capitals, as PEFT calls it.
        values: the JSON object; empty for a method that only a checkpoint names.
    """

    peft_type: str
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    paper: str = ""
    place: Place = _PLACE
    formula: str = "as its PEFT type computes it"
    initialisation: str = "as its PEFT type starts"
    packable: bool = False

    def tuners(self) -> Sequence[Tuner]:
        """The tuner of this type that a method of the registry brings; none for PEFT's own."""
        brought = (tuner for method in methods() for tuner in method.tuners())
        return [tuner for tuner in brought if tuner.peft_type == self.peft_type][:1]

    def check_configuration(self) -> None:
        """Refuse an unknown or refused type, field or value; the message names it."""
        self.new_config()

    def new_config(self) -> Any:
        """The ``peft.PeftConfig`` that the JSON object describes, before it has met a backbone.

        Raises:
            UsageError: an unknown or refused type, field or value; the message names it.
        """
        from peft import PromptLearningConfig
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

        name = self.peft_type
        classes = {peft_type.value: config_class for peft_type, config_class in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
        if name not in classes:
            raise UsageError(f"unknown PEFT type {self.values['peft_type']!r}; known: {', '.join(supported_types())}")
        if issubclass(classes[name], PromptLearningConfig):
            raise UsageError(
                f"PEFT type {name} puts virtual tokens in front of the text: pooling would read them and the positions "
                "of the text would shift; use --method prefix, which does neither"
            )
        if name in REFUSED_TYPES:
            raise UsageError(f"PEFT type {name} is not supported: {REFUSED_TYPES[name]}")
        given = {key: value for key, value in self.values.items() if key not in ("peft_type", *BOOKKEEPING)}
        check_fields(name, given, {field.name for field in dataclasses.fields(classes[name]) if field.init})
        try:
            config = classes[name](**self.complete(given))
            self.check_config(config)
        except (TypeError, ValueError) as error:
            raise UsageError(f"PEFT refuses this {name} configuration: {_first_line(error)}") from error
        return config

    def complete(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields that were given, with those that a type needs and nobody should give."""
        return fields

    def check_config(self, config: Any) -> None:
        """Refuse values that PEFT lets pass and that cannot be meant.

        Raises:
            UsageError: names them.
        """

    def peft_config(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        """The configuration for one backbone: without ``target_modules``, an adapter goes where its paper puts it."""
        config = self.new_config()
        if settings.modules_to_save:
            if not hasattr(config, "modules_to_save"):
                raise UsageError(
                    f"PEFT type {self.peft_type} cannot train a task head beside the adapter; use a bi-encoder"
                )
            config.modules_to_save = list(dict.fromkeys([*(config.modules_to_save or ()), *settings.modules_to_save]))
        if hasattr(config, "target_modules") and config.target_modules is None and not self.tuners():
            for name, targets in default_targets(self.peft_type, model).items():
                setattr(config, name, targets)
        if settings.unused_pooler and enters_pooler(config, model):
            config.exclude_modules = IN_POOLER
        return config

    def apply(self, model: Any, dimensions: Dimensions, settings: Settings) -> Any:
        """Freeze a model and put the described adapter on it, in place.

        Raises:
            UsageError: what ``new_config`` refuses; a backbone without known targets; a configuration that PEFT
                cannot put on this backbone; a type that changes the backbone's weights.
        """
        from peft import get_peft_model

        config = self.peft_config(model, dimensions, settings)
        config.task_type = settings.task_type
        before = [(parameter, _checksum(parameter)) for parameter in model.parameters()]
        try:
            tuned = get_peft_model(model, config, adapter_name=ADAPTER_NAME)
        except UsageError:
            raise
        except Exception as error:  # whatever PEFT stumbles over is in the user's file; --debug shows the rest
            raise UsageError(
                f"PEFT cannot put this {self.peft_type} adapter on a {model.config.model_type} backbone: "
                f"{_first_line(error)}"
            ) from error
        kept = {id(parameter) for parameter in tuned.parameters()}
        if any(id(parameter) not in kept or _checksum(parameter) != checksum for parameter, checksum in before):
            raise UsageError(
                f"this {self.peft_type} configuration changes the backbone's own weights; leave them as they are"
            )
        if settings.unused_pooler:
            for name, parameter in tuned.named_parameters():
                if ".pooler." in name:
                    parameter.requires_grad_(False)
        return tuned

    def loads_with_peft_model_only(self) -> bool:
        """Whether the layers of its tuner share state."""
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
        from peft.utils.peft_types import PeftType

        if self.peft_type not in PeftType.__members__:
            return False
        return shares_state(PEFT_TYPE_TO_TUNER_MAPPING[PeftType[self.peft_type]])


def _checksum(parameter: Any) -> tuple[float, float]:
    values = parameter.detach().double()
    return float(values.sum()), float(values.square().sum())


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__

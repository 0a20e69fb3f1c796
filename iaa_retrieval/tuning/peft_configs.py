"""Any other PEFT method, from a JSON object with `peft_type` and the fields of that type's configuration.

Only names are read without PEFT; what builds a configuration imports it.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from iaa_retrieval.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

# What PEFT itself, or the kind of model that is trained, decides; an adapter_config.json has these too.
BOOKKEEPING = ("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type")

# Types that PEFT has but that cannot train a retriever here, and why.
REFUSED_TYPES = {
    "ADAMSS": "it does not run in half precision",
    "ADAPTION_PROMPT": "it exists for a few decoders only",
    "OSF": "it replaces the backbone's weights, which a checkpoint of an adapter does not hold",
    "POLY": "it needs the id of a task with every input",
    "SHADOW": "it needs a decoder",
    "XLORA": "it mixes adapters that are trained already",
}

# Fields that ask for more than an adapter on an encoder, and why they are refused when they are set.
REFUSED_FIELDS = {
    "alora_invocation_tokens": "it needs a decoder",
    "arrow_config": "it routes between adapters that are trained already",
    "corda_config": "it starts from the activations of a data set",
    "eva_config": "it starts from the activations of a data set",
    "kasa_config": "it changes the backbone's weights and needs a loss of its own",
    "layer_replication": "it changes the depth of the backbone",
    "loftq_config": "it quantises the backbone",
    "lora_ga_config": "it starts from gradients of a data set",
    "megatron_config": "it needs a Megatron model",
    "monteclora_config": "it needs a loss of its own",
    "total_step": "it is the number of training steps, which is filled in",
    "use_bdlora": "it is for serving with several devices",
    "use_qalora": "it needs a quantised backbone",
}

# The initialisations of LoRA that leave the backbone's weights alone.
LORA_STARTS = (True, False, "gaussian", "orthogonal", "mica")


# Begins the names of methods that are PEFT's own, not the registry's.
PEFT_PREFIX = "peft-"


def peft_method_name(values: Mapping[str, Any]) -> str:
    """What checkpoints and reports call such a method, "peft-ia3" or "peft-dora".

    The prefix tells PEFT's own methods from those of the registry ("lora" there has its own scaling).

    Raises:
        UsageError: no `peft_type`.
    """
    peft_type = values.get("peft_type")
    if not isinstance(peft_type, str) or not peft_type:
        raise UsageError('a PEFT configuration is a JSON object with a "peft_type", such as {"peft_type": "IA3"}')
    dora = peft_type.upper() == "LORA" and values.get("use_dora")
    return PEFT_PREFIX + ("dora" if dora else peft_type.lower().replace("_", "-"))


def supported_types() -> tuple[str, ...]:
    """Names of the types that can be trained, in PEFT's order."""
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return tuple(
        peft_type.value
        for peft_type, config_class in PEFT_TYPE_TO_CONFIG_MAPPING.items()
        if not issubclass(config_class, PromptLearningConfig) and peft_type.value not in REFUSED_TYPES
    )


def new_peft_config(values: Mapping[str, Any]) -> Any:
    """The `peft.PeftConfig` that a JSON object describes, before it has met a backbone.

    Raises:
        UsageError: an unknown or refused type, field or value; the message names it.
    """
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    peft_method_name(values)
    name = values["peft_type"].upper()
    classes = {peft_type.value: config_class for peft_type, config_class in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if name not in classes:
        raise UsageError(f"unknown PEFT type {values['peft_type']!r}; known: {', '.join(supported_types())}")
    if issubclass(classes[name], PromptLearningConfig):
        raise UsageError(
            f"PEFT type {name} puts virtual tokens in front of the text: pooling would read them and the positions of "
            "the text would shift; use --method prefix, which does neither"
        )
    if name in REFUSED_TYPES:
        raise UsageError(f"PEFT type {name} is not supported: {REFUSED_TYPES[name]}")
    given = {key: value for key, value in values.items() if key not in ("peft_type", *BOOKKEEPING)}
    _check_fields(name, given, {field.name for field in dataclasses.fields(classes[name]) if field.init})
    try:
        if name == "ADALORA":
            # PEFT wants a length of the schedule now; `training.adalora` puts the true one in.
            given["total_step"] = int(given.get("tinit", 0)) + int(given.get("tfinal", 0)) + 2
        config = classes[name](**given)
        if name == "ADALORA" and config.target_r >= config.init_r:
            raise UsageError(
                f"AdaLoRA prunes ranks from init_r to target_r; init_r {config.init_r} must be above {config.target_r}"
            )
    except (TypeError, ValueError) as error:
        raise UsageError(f"PEFT refuses this {name} configuration: {_first_line(error)}") from error
    return config


def apply_peft_config(
    model: Any, values: Mapping[str, Any], *, modules_to_save: list[str] | None = None, task_type: str | None = None
) -> nn.Module:
    """Freeze a transformers model and put the described adapter on it, in place.

    Without `target_modules`, an adapter goes where the method's paper puts it (see `default_targets`).

    Args:
        model: an encoder, or one with a task head.
        values: what `new_peft_config` takes.
        modules_to_save: a task head, trained and saved whole beside the adapter.
        task_type: as `apply_method` takes it.

    Returns:
        A `peft.PeftModel` whose adapter is "default".

    Raises:
        UsageError: what `new_peft_config` refuses; a backbone without known targets; a configuration that PEFT
            cannot put on this backbone; a type that changes the backbone's weights.
    """
    from peft import get_peft_model

    from iaa_retrieval.tuning.apply import ADAPTER_NAME, EMBEDDING_TASK, IN_POOLER

    config = new_peft_config(values)
    name = config.peft_type.value
    config.task_type = task_type
    if modules_to_save:
        if not hasattr(config, "modules_to_save"):
            raise UsageError(f"PEFT type {name} cannot train a task head beside the adapter; use a bi-encoder")
        config.modules_to_save = list(dict.fromkeys([*(config.modules_to_save or ()), *modules_to_save]))
    if hasattr(config, "target_modules") and config.target_modules is None:
        for field, targets in default_targets(name, model).items():
            setattr(config, field, targets)
    embedding = task_type == EMBEDDING_TASK
    if embedding and _enters_pooler(config, model):
        config.exclude_modules = IN_POOLER
    before = [(parameter, _checksum(parameter)) for parameter in model.parameters()]
    try:
        tuned: nn.Module = get_peft_model(model, config, adapter_name=ADAPTER_NAME)
    except UsageError:
        raise
    except Exception as error:  # whatever PEFT stumbles over is in the user's file; --debug shows the rest
        raise UsageError(
            f"PEFT cannot put this {name} adapter on a {model.config.model_type} backbone: {_first_line(error)}"
        ) from error
    kept = {id(parameter) for parameter in tuned.parameters()}
    if any(id(parameter) not in kept or _checksum(parameter) != checksum for parameter, checksum in before):
        raise UsageError(f"this {name} configuration changes the backbone's own weights; leave them as they are")
    if embedding:
        for parameter_name, parameter in tuned.named_parameters():
            if ".pooler." in parameter_name:
                parameter.requires_grad_(False)
    return tuned


def default_targets(name: str, model: Any) -> dict[str, Any]:
    """Where a type's adapter goes on one of our backbones, as fields of its configuration.

    Layer normalisations for LN_TUNING, keys, values and the feed-forward block for IA3, values for BEFT, PEFT's
    own choice for the types of this package and for TRAINABLE_TOKENS, and else the query and value projections.

    Raises:
        UsageError: a backbone that we do not know.
    """
    from torch import nn

    from iaa_retrieval.tuning.architectures import ARCHITECTURES, in_layers

    if name in ("TRAINABLE_TOKENS", "IAA", "BITFIT"):
        return {}
    encoder = model.base_model
    inside = "" if encoder is model else f"{model.base_model_prefix}."
    if name == "LN_TUNING":
        norms = [name for name, module in encoder.named_modules() if isinstance(module, nn.LayerNorm)]
        return {"target_modules": [inside + norm for norm in norms]}
    model_type = model.config.model_type
    if model_type not in ARCHITECTURES:
        raise UsageError(
            f"where an adapter goes is not known for a {model_type!r} backbone; write target_modules in the PEFT "
            f"configuration, or use one of {', '.join(ARCHITECTURES)}"
        )
    places = ARCHITECTURES[model_type]
    if name == "IA3":
        feedforward = in_layers(places, places.ffn_output)
        projections = [in_layers(places, module) for module in places.key_value]
        return {"target_modules": "|".join([*projections, feedforward]), "feedforward_modules": feedforward}
    modules = places.lora_targets[-1:] if name == "BEFT" else places.lora_targets
    return {"target_modules": "|".join(in_layers(places, module) for module in modules)}


def loads_with_peft_model_only(method: str) -> bool:
    """Whether only `peft.PeftModel` reads a checkpoint of this method (a name as `peft_method_name` gives it).

    transformers' `AutoModel.from_pretrained` and `load_adapter`, and with them sentence-transformers, refuse types
    that share state between layers, and leave DoRA's magnitudes at their start without a word.
    """
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.utils.peft_types import PeftType

    if method == "peft-dora":
        return True
    name = method.removeprefix(PEFT_PREFIX).replace("-", "_").upper()
    if not method.startswith(PEFT_PREFIX) or name not in PeftType.__members__:
        return False
    return bool(PEFT_TYPE_TO_TUNER_MAPPING[PeftType[name]].uses_shared_state)


def _enters_pooler(config: Any, model: Any) -> bool:
    """Whether the targets that a user chose include the pooler, which takes no part in an embedding."""
    from peft.tuners.tuners_utils import check_target_module_exists

    if getattr(config, "exclude_modules", "") is not None or not getattr(config, "target_modules", None):
        return False
    pooler = [name for name, _ in model.named_modules() if name.startswith("pooler.")]
    if config.target_modules == "all-linear":
        return bool(pooler)
    return any(check_target_module_exists(config, name) for name in pooler)


def _check_fields(name: str, given: Mapping[str, Any], known: set[str]) -> None:
    known = known - {"peft_type", *BOOKKEEPING}
    for field, value in given.items():
        if field not in known:
            near = difflib.get_close_matches(field, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"PEFT type {name} has no field {field!r}; {hint}known: {', '.join(sorted(known))}")
        if field in REFUSED_FIELDS and value:
            raise UsageError(f"{field} of PEFT type {name} is not supported: {REFUSED_FIELDS[field]}")
    start = given.get("init_lora_weights", True)
    if start not in LORA_STARTS:
        raise UsageError(
            f"init_lora_weights {start!r} is not supported: it changes the backbone's weights or needs data before "
            "training; use true, gaussian, orthogonal or mica"
        )


def _checksum(parameter: Any) -> tuple[float, float]:
    values = parameter.detach().double()
    return float(values.sum()), float(values.square().sum())


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__

"""What of PEFT cannot train a retriever here, and why: types, fields and values of fields."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from iaa_retrieval.errors import UsageError

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


def supported_types() -> tuple[str, ...]:
    """Names of the types that can be trained, in PEFT's order."""
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return tuple(
        peft_type.value
        for peft_type, config_class in PEFT_TYPE_TO_CONFIG_MAPPING.items()
        if not issubclass(config_class, PromptLearningConfig) and peft_type.value not in REFUSED_TYPES
    )


def check_fields(name: str, given: Mapping[str, Any], known: set[str]) -> None:
    """Refuse fields that a PEFT type does not have, or that ask for more than an adapter.

    Raises:
        UsageError: names the field.
    """
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

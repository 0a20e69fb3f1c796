"""Where the adapters of PEFT's own types go on our backbones."""

from __future__ import annotations

from typing import Any

from iaa_retrieval.errors import UsageError


def default_targets(name: str, model: Any) -> dict[str, Any]:
    """Where a type's adapter goes on one of our backbones, as fields of its configuration.

    Layer normalisations for LN_TUNING, keys, values and the feed-forward block for IA3, values for BEFT, PEFT's
    own choice for TRAINABLE_TOKENS, and else the query and value projections.

    Raises:
        UsageError: a backbone that we do not know.
    """
    from iaa_retrieval.tuning.architectures import ARCHITECTURES, in_layers

    if name == "TRAINABLE_TOKENS":
        return {}
    encoder = model.base_model
    inside = "" if encoder is model else f"{model.base_model_prefix}."
    if name == "LN_TUNING":
        # Of whatever kind: LayerNorm, or one of the root mean square such as Qwen3RMSNorm.
        norms = [name for name, module in encoder.named_modules() if type(module).__name__.endswith("Norm")]
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


def enters_pooler(config: Any, model: Any) -> bool:
    """Whether the targets that a user chose include the pooler, which takes no part in an embedding."""
    from peft.tuners.tuners_utils import check_target_module_exists

    if getattr(config, "exclude_modules", "") is not None or not getattr(config, "target_modules", None):
        return False
    pooler = [name for name, _ in model.named_modules() if name.split(".")[0] == "pooler"]
    if config.target_modules == "all-linear":
        return bool(pooler)
    return any(check_target_module_exists(config, name) for name in pooler)

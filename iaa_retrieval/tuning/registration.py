"""Makes our tuners known to PEFT. Importing this module registers; importing it again changes nothing."""

from __future__ import annotations

from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import register_peft_method

from iaa_retrieval.tuning.tuners.bitfit import BitFitConfig, BitFitModel
from iaa_retrieval.tuning.tuners.config import IAAConfig
from iaa_retrieval.tuning.tuners.model import IAAModel
from iaa_retrieval.tuning.tuners.peft_types import BITFIT, IAA


def register() -> None:
    """Register the types IAA and BITFIT, unless they are registered already."""
    for peft_type, config, model in ((IAA, IAAConfig, IAAModel), (BITFIT, BitFitConfig, BitFitModel)):
        if peft_type not in PEFT_TYPE_TO_TUNER_MAPPING:
            register_peft_method(name=peft_type.value.lower(), config_cls=config, model_cls=model)


register()

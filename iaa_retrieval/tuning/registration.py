"""Makes the tuners of all methods known to PEFT. Importing this module registers; again, it changes nothing."""

from __future__ import annotations

import logging

from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import register_peft_method

from iaa_retrieval.tuning.methods import Method
from iaa_retrieval.tuning.methods.registry import follow_methods
from iaa_retrieval.tuning.tuners.peft_types import peft_type

LOG = logging.getLogger("iaa_retrieval")


def register_tuners(method: Method) -> None:
    """Register the tuners that a method brings, unless they are registered already.

    Those of another package that cannot be imported, or that PEFT refuses, are left out, with a warning: this happens
    inside ``import peft``.
    """
    try:
        for tuner in method.tuners():
            if peft_type(tuner.peft_type) not in PEFT_TYPE_TO_TUNER_MAPPING:
                register_peft_method(name=tuner.peft_type.lower(), config_cls=tuner.config, model_cls=tuner.model)
    except Exception as error:
        LOG.warning("PEFT does not know method %s: %s", method.name, " ".join(str(error).split()))


follow_methods(register_tuners)

"""From a share of the backbone's parameters to a method's dimensions. Light: no torch, no PEFT."""

from __future__ import annotations

import re

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods import get_method
from iaa_retrieval.tuning.methods.sizes import Sizes


def parse_budget(text: str) -> float:
    """Read a share such as "0.5%" as the fraction 0.005.

    Raises:
        UsageError: not a number with a percent sign, or not above 0% and up to 100%.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*", text)
    share = float(match.group(1)) if match else 0.0
    if not 0.0 < share <= 100.0:
        raise UsageError(f"budget {text!r} is not a share above 0% and up to 100%; write it as in 0.5%")
    return share / 100


def choose_dimensions(
    method: str, budget: float, hidden_size: int, num_layers: int, backbone_parameters: int
) -> dict[str, int]:
    """``dimensions_on`` a backbone whose queries, keys and values are as wide as its states, as BERT's are."""
    return dimensions_on(Sizes(hidden_size, num_layers), method, budget, backbone_parameters)


def dimensions_on(sizes: Sizes, method: str, budget: float, backbone_parameters: int) -> dict[str, int]:
    """The dimensions that spend ``budget``, by one rule for every method and backbone; see ``methods.scaling``.

    ``full`` takes 100% and no other budget. BitFit trains a fixed number of biases: a budget changes nothing, but one
    too small for them is refused.

    Args:
        sizes: of the backbone, see ``methods.sizes.sizes_of``.
        method: a name in the registry.
        budget: trained share of the backbone as a fraction, 0.005 for 0.5%.
        backbone_parameters: how many parameters the backbone has.

    Raises:
        UsageError: an unknown method, a budget outside (0, 1], or one that the method cannot mean.
    """
    entry = get_method(method)
    if not 0.0 < budget <= 1.0:
        raise UsageError(f"a budget is a fraction above 0 and up to 1, got {budget}")
    return entry.dimensions_on(sizes, budget, backbone_parameters)

"""From a share of the backbone's parameters to a method's dimensions. Light: no torch, no PEFT."""

from __future__ import annotations

import re

from iaa_retrieval.errors import UsageError
from iaa_retrieval.tuning.methods import Dimensions, Method, get_method

BERT_HIDDEN_SIZE, BERT_LAYERS, BERT_PARAMETERS = 768, 12, 109_482_240  # bert-base, the paper's backbone
NOMINAL = 1.1  # how far a true share may exceed a nominal one, as those of the paper's tables do


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
    """The dimensions that spend `budget`, by one rule for every method and backbone.

    1. The IAA paper's tables give dimensions on bert-base at two nominal shares (0.5% and 6.7%; prefix 3.6%).
    2. Between the two every dimension is interpolated linearly; outside it is proportional to the share.
    3. On another backbone all dimensions are multiplied by the one factor that makes the trained weights the
       same part of `backbone_parameters` as on bert-base.
    4. Each is rounded to the nearest integer, and is at least 1.

    So bert-base at a printed share gets exactly the paper's dimensions; printed shares are approximate
    (adapter r=16 is 0.54%, not 0.5%), and so is every other result. `full` takes 100% and no other budget.
    BitFit trains a fixed number of biases: a budget changes nothing, but one too small for them is refused.

    Args:
        method: a name in the registry.
        budget: trained share of the backbone as a fraction, 0.005 for 0.5%.
        hidden_size, num_layers, backbone_parameters: of the backbone.

    Raises:
        UsageError: an unknown method, a budget outside (0, 1], or one that the method cannot mean.
    """
    entry = get_method(method)
    if not 0.0 < budget <= 1.0:
        raise UsageError(f"a budget is a fraction above 0 and up to 1, got {budget}")
    if not entry.anchors:
        _require_possible(entry, budget, hidden_size, num_layers, backbone_parameters)
        return {}
    on_bert_base = _interpolate(entry.anchors, budget)
    share = _weights(entry, on_bert_base, BERT_HIDDEN_SIZE, BERT_LAYERS) / BERT_PARAMETERS
    factor = share * backbone_parameters / _weights(entry, on_bert_base, hidden_size, num_layers)
    return {name: max(1, round(value * factor)) for name, value in on_bert_base.items()}


def _interpolate(anchors: tuple[tuple[float, Dimensions], ...], budget: float) -> dict[str, float]:
    (low, small), (high, large) = anchors
    if budget <= low:
        return {name: value * budget / low for name, value in small.items()}
    if budget >= high:
        return {name: value * budget / high for name, value in large.items()}
    along = (budget - low) / (high - low)
    return {name: value + along * (large[name] - value) for name, value in small.items()}


def _weights(method: Method, dimensions: dict[str, float], hidden_size: int, num_layers: int) -> float:
    """Trained weights at dimensions that need not be integers: the count is linear in every dimension."""
    total = 0.0
    for name, value in dimensions.items():
        one = {other: int(other == name) for other in dimensions}
        total += value * method.count(hidden_size, num_layers, one)
    return total


def _require_possible(
    method: Method, budget: float, hidden_size: int, num_layers: int, backbone_parameters: int
) -> None:
    if method.name == "full":
        if budget != 1.0:
            raise UsageError("method full trains 100%; leave the budget out, or choose another method")
        return
    share = method.weight_count(hidden_size, num_layers, {}) / backbone_parameters
    if share > budget * NOMINAL:
        raise UsageError(
            f"method {method.name} always trains {share:.2%} of this backbone, more than {budget:.2%}; "
            "leave the budget out, or choose another method"
        )

"""From a share of a backbone's parameters to dimensions, by one rule for every method and backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from iaa_retrieval.tuning.methods.sizes import Sizes

Dimensions = Mapping[str, int]
Anchors = tuple[tuple[float, Dimensions], ...]
Count = Callable[[Sizes, Dimensions], int]

BERT_HIDDEN_SIZE, BERT_LAYERS, BERT_PARAMETERS = 768, 12, 109_482_240  # bert-base, the paper's backbone
BERT_SIZES = Sizes(BERT_HIDDEN_SIZE, BERT_LAYERS)
NOMINAL = 1.1  # how far a true share may exceed a nominal one, as those of the paper's tables do


def scaled_dimensions(
    count: Count, names: Sequence[str], anchors: Anchors, budget: float, sizes: Sizes, parameters: int
) -> dict[str, int]:
    """The dimensions that spend ``budget``.

    1. The IAA paper's tables give dimensions on bert-base at two nominal shares (0.5% and 6.7%; prefix 3.6%).
    2. Between the two every dimension is interpolated linearly; outside it is proportional to the share.
    3. On another backbone all dimensions are multiplied by the one factor that makes the trained weights the
       same part of its parameters as on bert-base.
    4. Each is rounded to the nearest integer, and is at least 1.

    So bert-base at a printed share gets exactly the paper's dimensions; printed shares are approximate
    (adapter r=16 is 0.54%, not 0.5%), and so is every other result. A method without anchors spends the share itself,
    with one size for all its dimensions.

    Args:
        count: weights by the backbone's sizes and the dimensions, linear in every dimension.
        names: the dimensions.
        anchors: none, or two: (nominal share, dimensions on bert-base).
        budget: trained share of the backbone as a fraction.
        sizes: of the backbone.
        parameters: how many it has.
    """
    if anchors:
        start = _interpolate(anchors, budget)
        share = _weights(count, start, BERT_SIZES) / BERT_PARAMETERS
    else:
        start, share = dict.fromkeys(names, 1.0), budget
    factor = share * parameters / _weights(count, start, sizes)
    return {name: max(1, round(value * factor)) for name, value in start.items()}


def small_enough(share: float, budget: float) -> bool:
    """Whether a true share is what a nominal one means."""
    return share <= budget * NOMINAL


def _interpolate(anchors: Anchors, budget: float) -> dict[str, float]:
    (low, small), (high, large) = anchors
    if budget <= low:
        return {name: value * budget / low for name, value in small.items()}
    if budget >= high:
        return {name: value * budget / high for name, value in large.items()}
    along = (budget - low) / (high - low)
    return {name: value + along * (large[name] - value) for name, value in small.items()}


def _weights(count: Count, dimensions: dict[str, float], sizes: Sizes) -> float:
    """Trained weights at dimensions that need not be integers: the count is linear in every dimension."""
    total = 0.0
    for name, value in dimensions.items():
        one = {other: int(other == name) for other in dimensions}
        total += value * count(sizes, one)
    return total

"""Every claim, in the order in which pages show them."""

from __future__ import annotations

from collections.abc import Sequence

from iaa_retrieval.reproduction.claims.cases import Case
from iaa_retrieval.reproduction.claims.convergence import converges_faster
from iaa_retrieval.reproduction.claims.effectiveness import (
    better_at_equal_budget,
    better_than_full,
    reaches_full,
    spreads_less_than_others,
    spreads_more_than_full,
)
from iaa_retrieval.reproduction.claims.judging import Claim
from iaa_retrieval.reproduction.claims.rates import less_sensitive_than_others, others_more_sensitive_than_full
from iaa_retrieval.reproduction.claims.saved_analyses import flatter_minima, more_direct_updates

_CLAIMS = (
    better_at_equal_budget,
    reaches_full,
    better_than_full,
    converges_faster,
    others_more_sensitive_than_full,
    less_sensitive_than_others,
    spreads_more_than_full,
    spreads_less_than_others,
    more_direct_updates,
    flatter_minima,
)


def claims_of(subject: str, cases: Sequence[Case]) -> list[Claim]:
    """All claims about a subject, judged on its cases."""
    of_subject = [case for case in cases if case.subject == subject]
    return [claim(subject, of_subject) for claim in _CLAIMS]

"""Weights as written become whole shares of a whole: so that proportions are exact and arithmetic never drifts.

Ratios of whole numbers and decimals keep their exact proportions: 0.7 and 0.3 are 7 and 3 of 10; a third as a float is a
third. Only where the whole would need more than `LARGEST_PERIOD` parts are shares rounded to such parts, which moves them
by less than one row in a thousand million.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from core.errors import DataError, shown

LARGEST_PERIOD = 1 << 30
"""Products of a slot and a share then fit into 63 bits."""
LEAST_SHARE = Fraction(1, 1_000_000)
"""A jump looks at one slot for each part of the least share (see schedule.py)."""
_PLAIN_DENOMINATOR = 10_000


def whole_shares(weights: Sequence[float]) -> tuple[int, ...]:
    """Give each weight's share as a whole number, without a common divisor; a weight of 0 stays 0.

    Raise DataError for no weights, one that is negative or not finite, none above 0, or a share that is too small.
    """
    _check(weights)
    exact = [_as_written(weight) for weight in weights]
    total = sum(exact)
    for weight in exact:
        if 0 < weight < total * LEAST_SHARE:
            raise DataError(
                f"mixture weight {shown(float(weight))} is less than a millionth of all weights; "
                "raise it, or leave the source out by a weight of 0"
            )
    scale = math.lcm(*(weight.denominator for weight in exact))
    shares = [int(weight * scale) for weight in exact]
    common = math.gcd(*shares)
    shares = [share // common for share in shares]
    return tuple(shares if sum(shares) <= LARGEST_PERIOD else _rounded(shares))


def _check(weights: Sequence[float]) -> None:
    for weight in weights:
        if not math.isfinite(weight) or weight < 0:
            raise DataError(f"mixture weight is {shown(weight)}; weights must be finite numbers of at least 0")
    if not any(weights):
        raise DataError(f"none of the mixture's {len(weights)} weights is above 0; at least one source must be drawn")


def _as_written(weight: float) -> Fraction:
    plain = Fraction(weight).limit_denominator(_PLAIN_DENOMINATOR)
    return plain if float(plain) == float(weight) else Fraction(repr(float(weight)))


def _rounded(shares: list[int]) -> list[int]:
    """Round shares to parts of `LARGEST_PERIOD` by the largest remainders."""
    total = sum(shares)
    parts = [divmod(share * LARGEST_PERIOD, total) for share in shares]
    missing = LARGEST_PERIOD - sum(whole for whole, _ in parts)
    favoured = sorted(range(len(parts)), key=lambda i: (-parts[i][1], i))[:missing]
    return [whole + (i in favoured) for i, (whole, _) in enumerate(parts)]

"""Sums written out, as far as they stay small."""

from __future__ import annotations

import math

import sympy

MAX_TERMS = 5000
_LARGEST_LOGARITHM = 300.0  # more would overflow where it is multiplied


def written_out(expression: sympy.Expr) -> sympy.Expr:
    """Return the expression as a sum of products, or as it is if that sum would have more than `MAX_TERMS` terms.

    >>> x = sympy.Symbol("x")
    >>> written_out((1 + x) * (2 + x))
    x**2 + 3*x + 2
    >>> written_out((1 + x) ** 6000)
    (x + 1)**6000
    """
    return sympy.expand(expression) if terms_written_out(expression) <= MAX_TERMS else expression


def terms_written_out(expression: sympy.Expr) -> float:
    """Return an upper bound of the number of terms of all sums in the expression once products are multiplied out.

    A sum of m terms to the power n has C(n + m - 1, n) of them.
    """
    if not expression.args:
        return 1.0
    counts = [terms_written_out(part) for part in expression.args]
    if expression.is_Add:
        return math.fsum(counts)
    if expression.is_Mul:
        return math.prod(counts)
    if expression.is_Pow and expression.exp.is_Integer and counts[0] > 1:
        power, size = abs(int(expression.exp)), counts[0]
        logarithm = math.lgamma(power + size) - math.lgamma(size) - math.lgamma(power + 1)
        return math.exp(min(logarithm, _LARGEST_LOGARITHM))
    return max(counts)  # a function of a sum is one term, and the sum within is written out as well

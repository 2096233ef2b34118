r"""Logic of regions as algebra of functions that are positive inside, zero on the boundary, negative outside.

    a ∧ b = a + b - √(a² + b²),        a ∨ b = a + b + √(a² + b²),        ¬a = -a

have the sign that the logic says. Where one of them vanishes and the other does not, the result has the slope
of the one that vanishes: distances stay distances to first order, away from corners. At a corner (a = b = 0) the
result is continuous and has no derivative. Source: Shapiro (2007), Acta Numerica 16, 239-303 (R₀, without his
factor); Rvachev (1982).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import sympy


def conjunction(levels: Iterable[sympy.Expr]) -> sympy.Expr:
    """Return a function that is positive where all of these are.

    >>> a, b = sympy.symbols("a b")
    >>> conjunction([a, b])
    a + b - sqrt(a**2 + b**2)
    """
    return reduce(lambda a, b: a + b - sympy.sqrt(a**2 + b**2), levels)


def disjunction(levels: Iterable[sympy.Expr]) -> sympy.Expr:
    """Return a function that is positive where one of these is."""
    return reduce(lambda a, b: a + b + sympy.sqrt(a**2 + b**2), levels)

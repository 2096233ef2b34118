"""Functions known by their numbers: opaque to symbolic algebra, but for their derivatives.

A known function s(x) stands in an expression like sin(x) does; ∂s/∂x is a known function again, and a
`Profile` evaluates all of them. Conditions with computed data are then ordinary conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import sympy


class Profile(Protocol):
    """A function of d variables that gives its own partial derivatives."""

    def __call__(self, arguments: Sequence[Any], orders: tuple[int, ...]) -> Any:
        """Return ∂^orders of the function, values of the shape and kind of the arguments.

        Args:
            arguments: d of them: NumPy arrays, torch tensors, truncated Taylor series, or floats beside these.
            orders: how often each argument is differentiated.
        """
        ...


class KnownFunction(sympy.Function):
    """∂^orders of a profile, applied to its arguments; `known_function` makes the class of each one.

    Attributes:
        profile: evaluates.
        orders: how often each argument is differentiated.
        title: the name of the function itself.
        family: the classes of all derivatives so far: SymPy's expressions are equal if their classes are.
    """

    profile: ClassVar[Profile]
    orders: ClassVar[tuple[int, ...]]
    title: ClassVar[str]
    family: ClassVar[dict[tuple[int, ...], type[KnownFunction]]]
    is_real = True

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Return the derivative by one argument, counted from 1."""
        orders = tuple(order + (index == argindex - 1) for index, order in enumerate(self.orders))
        return _member(self.title, self.profile, orders, self.family)(*self.args)

    @classmethod
    def value(cls, arguments: Sequence[Any]) -> Any:
        """Return the values at these arguments."""
        return cls.profile(arguments, cls.orders)

    def _eval_evalf(self, prec: int) -> sympy.Expr | None:
        if any(argument.free_symbols for argument in self.args):
            return None
        return sympy.Float(float(self.value([float(argument) for argument in self.args])), 15)


def known_function(title: str, profile: Profile, arity: int) -> type[KnownFunction]:
    """Return the function of `arity` variables that this profile evaluates, ready to be applied to symbols."""
    return _member(title, profile, (0,) * arity, {})


def _member(
    title: str,
    profile: Profile,
    orders: tuple[int, ...],
    family: dict[tuple[int, ...], type[KnownFunction]],
) -> type[KnownFunction]:
    if orders not in family:
        suffix = "".join(str(order) for order in orders)
        name = title if not any(orders) else f"{title}_{suffix}"
        traits = {"profile": profile, "orders": orders, "title": title, "family": family, "nargs": len(orders)}
        family[orders] = type(name, (KnownFunction,), traits)
    return family[orders]

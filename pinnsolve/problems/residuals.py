"""Equations as expressions that shall be zero, and the derivatives in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import sympy

from pinnsolve.problems.formulas import Array, Elementary, Formula
from pinnsolve.problems.partials import Partial


@dataclass(frozen=True)
class Residual:
    """An expression in the fields and their derivatives that shall be zero.

    Attributes:
        name: the equation's name in the problem file.
        expression: left - right, in coordinates, applied fields and their derivatives.
        coordinates: the symbols, in the column order of point arrays.
        fields: the applied functions.
    """

    name: str
    expression: sympy.Expr
    coordinates: tuple[sympy.Symbol, ...]
    fields: tuple[sympy.Expr, ...]

    @cached_property
    def symbols(self) -> dict[Partial, sympy.Expr]:
        """The partial derivatives that occur, each with its place holder in the expression."""
        found: dict[Partial, sympy.Expr] = {}
        undifferentiated = self.expression
        for node in sorted(self.expression.atoms(sympy.Derivative), key=str):
            found[partial_of(node, self.coordinates)] = node
            undifferentiated = undifferentiated.xreplace({node: sympy.S.One})
        for applied in self.fields:
            if undifferentiated.has(applied):
                found[partial_of(applied, self.coordinates)] = applied
        return dict(sorted(found.items()))

    @property
    def partials(self) -> tuple[Partial, ...]:
        """The partial derivatives that the residual reads."""
        return tuple(self.symbols)

    def __call__(self, functions: Elementary, columns: Sequence[Array], jet: Mapping[Partial, Array]) -> Array:
        """Return the residual at every point.

        Args:
            functions: elementary functions of the kind of array used.
            columns: one array (N,) per coordinate.
            jet: values (N,) of at least the residual's partials.
        """
        arrays = [*columns, *(jet[partial] for partial in self.partials)]
        (value,) = self._formula(functions, arrays)
        return value + 0.0 * columns[0] if isinstance(value, float) else value

    @cached_property
    def is_linear(self) -> bool:
        """Whether the residual is affine in the fields and their derivatives."""
        placed = self.placed
        unknowns = list(self.placeholders.values())
        slopes = [sympy.diff(placed, unknown) for unknown in unknowns]
        return not any(slope.has(*unknowns) for slope in slopes)

    @cached_property
    def placeholders(self) -> dict[Partial, sympy.Symbol]:
        """A plain symbol for each partial derivative."""
        names = [x.name for x in self.coordinates]
        return {partial: sympy.Symbol(partial.name(names), real=True) for partial in self.partials}

    @cached_property
    def placed(self) -> sympy.Expr:
        """The expression with derivatives replaced by the plain symbols of `placeholders`."""
        pairs = sorted(self.symbols.items(), key=lambda pair: -pair[0].order)
        expression = self.expression
        for partial, node in pairs:  # highest first: u itself also stands inside its derivatives
            expression = expression.xreplace({node: self.placeholders[partial]})
        return expression

    @cached_property
    def _formula(self) -> Formula:
        return Formula([self.placed], [*self.coordinates, *self.placeholders.values()])


def differentiated(expression: sympy.Expr, partial: Partial, symbols: Sequence[sympy.Symbol]) -> sympy.Expr:
    """Return ∂^α of an expression in the coordinates' symbols; the partial's field is not looked at."""
    for symbol, times in zip(symbols, partial.orders, strict=True):
        expression = sympy.diff(expression, symbol, times)
    return expression


def partial_of(node: sympy.Expr, coordinates: Sequence[sympy.Symbol]) -> Partial:
    """Return the partial derivative that a SymPy derivative (or applied function) stands for."""
    if not isinstance(node, sympy.Derivative):
        return Partial(str(node.func), (0,) * len(coordinates))
    counts = {symbol: int(times) for symbol, times in node.variable_count}
    return Partial(str(node.expr.func), tuple(counts.get(symbol, 0) for symbol in coordinates))

"""Expressions of problem files as mathematics: checked syntax trees become SymPy expressions.

Fields are applied functions u(x, t), so that SymPy's own rules (product rule, chain rule) expand
derivatives of anything. Only constructors from a fixed table are called; no text reaches SymPy.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sympy

from pinnsolve.errors import ProblemError, unknown_name
from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.syntax import MAX_EXPONENT, parse_equation, parse_expression

MAX_ORDER = 8
_MAX_BITS = 1024  # the largest numerator or denominator kept exactly
_HALF = sympy.Rational(1, 2)

# name: (constructor, least number of arguments, largest number of arguments)
FUNCTIONS: dict[str, tuple[Callable[..., sympy.Expr], int, int]] = {
    "sin": (sympy.sin, 1, 1),
    "cos": (sympy.cos, 1, 1),
    "tan": (sympy.tan, 1, 1),
    "asin": (sympy.asin, 1, 1),
    "acos": (sympy.acos, 1, 1),
    "atan": (sympy.atan, 1, 1),
    "sinh": (sympy.sinh, 1, 1),
    "cosh": (sympy.cosh, 1, 1),
    "tanh": (sympy.tanh, 1, 1),
    "exp": (sympy.exp, 1, 1),
    "log": (sympy.log, 1, 1),
    "sqrt": (sympy.sqrt, 1, 1),
    "abs": (sympy.Abs, 1, 1),
    "sign": (sympy.sign, 1, 1),
    "erf": (sympy.erf, 1, 1),
    "step": (lambda z: sympy.Heaviside(z, _HALF), 1, 1),
    # unevaluated: SymPy's simplification of nested extrema can take minutes
    "min": (lambda *z: sympy.Min(*z, evaluate=False), 2, 8),
    "max": (lambda *z: sympy.Max(*z, evaluate=False), 2, 8),
}
NUMBERS: dict[str, sympy.Expr] = {"pi": sympy.pi, "e": sympy.E}
OPERATORS = ("d", "laplacian", "biharmonic", "dn", "exact")


@dataclass(frozen=True)
class Scope:
    """The names that an expression may use, and what they mean.

    Attributes:
        coordinates: name to symbol, in the column order of point arrays.
        fields: name to applied function u(x, t).
        constants: name to value.
        space: names of the space coordinates (all but time).
        reference: field name to the exact solution, for `exact(u)`.
        normal: components of the outward normal, one per coordinate, for `dn(u)`.
    """

    coordinates: Mapping[str, sympy.Symbol] = field(default_factory=dict)
    fields: Mapping[str, sympy.Expr] = field(default_factory=dict)
    constants: Mapping[str, sympy.Expr] = field(default_factory=dict)
    space: tuple[str, ...] = ()
    reference: Mapping[str, sympy.Expr] = field(default_factory=dict)
    normal: tuple[sympy.Expr, ...] | None = None

    def expression(self, text: str) -> sympy.Expr:
        """Return the expression that the text stands for.

        Raises:
            ProblemError: the text is no expression, or a name in it is not known here.
        """
        return self._read(parse_expression(text))

    def equation(self, text: str) -> sympy.Expr:
        """Return left - right of `left = right`, or the expression that shall be zero."""
        left, right = parse_equation(text)
        return self._read(left) - (self._read(right) if right is not None else 0)

    def number(self, text: str | float) -> sympy.Expr:
        """Return the constant that a number or a constant expression stands for.

        Raises:
            ProblemError: the value is not finite and real, or depends on a coordinate or field.
        """
        value = _exact(text) if isinstance(text, int | float) else self.expression(text)
        if value.free_symbols:
            raise ProblemError(f"{text!r} is not a constant")
        _finite(value, repr(str(text)[:80]))
        return value

    def with_normal(self, normal: tuple[sympy.Expr, ...] | None) -> Scope:
        """Return the scope of a condition on a face with this outward normal, or on a part with several."""
        return replace(self, normal=normal)

    def in_reference(self, expression: sympy.Expr) -> sympy.Expr:
        """Return the expression with every field replaced by the exact solution, derivatives carried out.

        Raises:
            ProblemError: there is no exact expression for a field that occurs.
        """
        used = {name for name, applied in self.fields.items() if expression.has(applied)}
        missing = sorted(used - set(self.reference))
        if missing:
            remedy = f"add [reference] exact = {{ {missing[0]} = '...' }}"
            raise ProblemError(f"there is no exact solution for {missing[0]!r}", remedy=remedy)
        return expression.subs({self.fields[name]: self.reference[name] for name in used}).doit()

    def _read(self, node: ast.expr) -> sympy.Expr:
        match node:
            case ast.Constant(value=int() | float() as value):
                return _exact(value)
            case ast.Name(id=name):
                return self._name(name, node)
            case ast.UnaryOp(op=operator, operand=operand):
                value = self._read(operand)
                return -value if isinstance(operator, ast.USub) else value
            case ast.BinOp(left=left, op=operator, right=right):
                return _bounded(_combine(operator, self._read(left), self._read(right), node))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _bounded(self._call(name, arguments, node))
        raise ProblemError(f"{type(node).__name__} is not an expression")  # the syntax check refuses it first

    def _name(self, name: str, node: ast.expr) -> sympy.Expr:
        for table in (self.coordinates, self.fields, self.constants, NUMBERS):
            if name in table:
                return table[name]
        derivative = self._shorthand(name)
        if derivative is not None:
            return derivative
        known = [*self.coordinates, *self.fields, *self.constants, *NUMBERS]
        if "_" in name and self.fields:
            known += [f"{field}_{x}" for field in self.fields for x in self.coordinates if len(x) == 1]
        raise ProblemError(f"{unknown_name('name', name, known)}, at column {node.col_offset + 1}")

    def _shorthand(self, name: str) -> sympy.Expr | None:
        """Return the derivative that `u_xxt` names, or None."""
        for field_name, applied in self.fields.items():
            suffix = name.removeprefix(field_name + "_")
            if suffix != name and suffix and all(letter in self.coordinates for letter in suffix):
                return self._differentiate(applied, [self.coordinates[letter] for letter in suffix])
        return None

    def _call(self, name: str, arguments: list[ast.expr], node: ast.expr) -> sympy.Expr:
        if name in OPERATORS:
            return self._operator(name, arguments, node)
        if name not in FUNCTIONS:
            raise ProblemError(
                f"{unknown_name('function', name, [*FUNCTIONS, *OPERATORS])}, at column {node.col_offset + 1}"
            )
        constructor, least, most = FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise ProblemError(
                f"{name}() takes {wanted} arguments, got {len(arguments)}, at column {node.col_offset + 1}"
            )
        return constructor(*(self._read(argument) for argument in arguments))

    def _operator(self, name: str, arguments: list[ast.expr], node: ast.expr) -> sympy.Expr:
        column = node.col_offset + 1
        if not arguments or (name != "d" and len(arguments) != 1) or (name == "d" and len(arguments) < 2):
            usage = "d(u, x, ...)" if name == "d" else f"{name}(u)"
            raise ProblemError(f"{name}() has {len(arguments)} arguments, at column {column}", remedy=f"write {usage}")
        operand = self._read(arguments[0])
        if name == "exact":
            return self.in_reference(operand)
        if name == "d":
            return self._differentiate(operand, [self._coordinate(argument) for argument in arguments[1:]])
        if name == "dn":
            return self._normal_derivative(operand, column)
        return self._laplacian(self._laplacian(operand) if name == "biharmonic" else operand)

    def _coordinate(self, node: ast.expr) -> sympy.Symbol:
        name = node.id if isinstance(node, ast.Name) else "an expression"
        if name not in self.coordinates:
            raise ProblemError(f"{unknown_name('coordinate', name, self.coordinates)}, at column {node.col_offset + 1}")
        return self.coordinates[name]

    def _laplacian(self, operand: sympy.Expr) -> sympy.Expr:
        return sum((self._differentiate(operand, [self.coordinates[x]] * 2) for x in self.space), sympy.S.Zero)

    def _normal_derivative(self, operand: sympy.Expr, column: int) -> sympy.Expr:
        if self.normal is None:
            raise ProblemError(f"dn() has a meaning only in conditions, at column {column}", remedy="use d(u, x)")
        pairs = zip(self.normal, self.coordinates.values(), strict=True)
        return sum((n * self._differentiate(operand, [x]) for n, x in pairs if n != 0), sympy.S.Zero)

    def _differentiate(self, operand: sympy.Expr, symbols: list[sympy.Symbol]) -> sympy.Expr:
        result = sympy.diff(operand, *symbols)
        highest = max((node.derivative_count for node in result.atoms(sympy.Derivative)), default=0)
        if max(highest, len(symbols)) > MAX_ORDER:
            raise ProblemError(f"a derivative of order {max(highest, len(symbols))} is more than {MAX_ORDER}")
        return result


def _combine(operator: ast.operator, left: Any, right: Any, node: ast.expr) -> sympy.Expr:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            if right == 0:
                raise ProblemError(f"division by zero, at column {node.col_offset + 1}")
            return left / right
    _check_power(left, right, node.col_offset + 1)
    return left**right


def _check_power(base: sympy.Expr, exponent: sympy.Expr, column: int) -> None:
    if exponent.free_symbols:
        return  # b**x is exp(x log b); only constant towers can explode
    size = abs(_finite(exponent, "the exponent"))
    total = size * max((abs(constant_value(p.exp)) for p in [base] if p.is_Pow and not p.exp.free_symbols), default=1.0)
    if size > MAX_EXPONENT or total > MAX_EXPONENT**2:
        raise ProblemError(f"the exponent {float(size):g} at column {column} is larger than {MAX_EXPONENT}")
    if base == 0 and exponent.is_negative:
        raise ProblemError(f"division by zero, at column {column}")


def _bounded(value: sympy.Expr) -> sympy.Expr:
    """Return the value, with exact rationals that have grown too long rounded to floats."""
    if value.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
        raise ProblemError(f"{str(value)[:80]!r} is not a finite real number")
    if not value.free_symbols:
        _finite(value, "a constant part of the expression")
    if value.is_Mul:  # 1e200*u*1e200 has a constant part, and SymPy numbers of any size
        _finite(value.as_coeff_Mul()[0], f"the coefficient of {str(value.as_coeff_Mul()[1])[:60]!r}")
    if isinstance(value, sympy.Rational) and max(value.p.bit_length(), value.q.bit_length()) > _MAX_BITS:
        return sympy.Float(_finite(value, "a constant"))
    return value


def _exact(value: int | float) -> sympy.Expr:
    """Return a number as the rational that its shortest decimal form names, so that 0.1 is 1/10."""
    if isinstance(value, float) and value and not 1e-30 < abs(value) < 1e30:
        return sympy.Float(value)
    return _bounded(sympy.Rational(repr(value)))


def _finite(value: sympy.Expr, shown: str) -> float:
    number = constant_value(value)
    if not math.isfinite(number):
        raise ProblemError(f"{shown} is not a finite real number")
    return number

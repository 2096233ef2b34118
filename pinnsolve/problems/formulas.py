"""Symbolic expressions evaluated on arrays, without generated source code.

An expression becomes a straight list of instructions (common subexpressions once), and the list runs
on whatever the caller's table of elementary functions understands: NumPy arrays (complex ones too),
torch tensors, truncated Taylor series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import sympy

from pinnsolve.problems.known_functions import KnownFunction

Array = Any  # NumPy array, torch tensor or Taylor series: anything with arithmetic
Elementary = Mapping[str, Callable[..., Array]]


@dataclass(frozen=True)
class _Instruction:
    """slot = operation(slots...); a constant carries its value instead of operands, a known function itself."""

    operation: str
    operands: tuple[int, ...] = ()
    value: float = 0.0
    function: type[KnownFunction] | None = None


class Formula:
    """Evaluator of several symbolic expressions in the same symbols.

    >>> x = sympy.Symbol("x")
    >>> Formula([x**2 + 1], [x])(numpy_functions(), [3.0])
    [10.0]
    """

    def __init__(self, expressions: Sequence[sympy.Expr], symbols: Sequence[sympy.Basic]) -> None:
        self._instructions: list[_Instruction] = []
        self._slots: dict[sympy.Basic, int] = {symbol: index for index, symbol in enumerate(symbols)}
        self._inputs = len(symbols)
        self._outputs = [self._slot(sympy.sympify(expression)) for expression in expressions]

    def __call__(self, functions: Elementary, arrays: Sequence[Array]) -> list[Array]:
        """Return the value of each expression; a constant expression gives a float.

        Args:
            functions: elementary functions by name, e.g. `numpy_functions()`.
            arrays: one array per symbol, of one shape.
        """
        if len(arrays) != self._inputs:
            raise ValueError(f"the formula has {self._inputs} symbols, got {len(arrays)} arrays")
        values: list[Array] = list(arrays)
        for instruction in self._instructions:
            if instruction.operation == "constant":
                values.append(instruction.value)
            else:
                values.append(_apply(instruction, [values[index] for index in instruction.operands], functions))
        return [values[index] for index in self._outputs]

    def _slot(self, node: sympy.Expr) -> int:
        if node not in self._slots:
            instruction = self._instruction(node)
            self._slots[node] = self._inputs + len(self._instructions)
            self._instructions.append(instruction)
        return self._slots[node]

    def _instruction(self, node: sympy.Expr) -> _Instruction:
        if not node.free_symbols:
            return _Instruction("constant", value=constant_value(node))
        if node.is_Pow and node.exp.is_number:
            return _power(self._slot(node.base), constant_value(node.exp))
        if isinstance(node, KnownFunction):
            return _Instruction("known", tuple(self._slot(argument) for argument in node.args), function=node.func)
        name = _NAMES.get(node.func)
        if name is None:
            raise ValueError(f"{node.func.__name__} has no numerical evaluation")
        arguments = node.args[:1] if name == "step" else node.args
        return _Instruction(name, tuple(self._slot(argument) for argument in arguments))


_NAMES = {
    sympy.Add: "add",
    sympy.Mul: "multiply",
    sympy.Pow: "power",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tan: "tan",
    sympy.asin: "asin",
    sympy.acos: "acos",
    sympy.atan: "atan",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.tanh: "tanh",
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.Abs: "abs",
    sympy.sign: "sign",
    sympy.erf: "erf",
    sympy.Heaviside: "step",
    sympy.Min: "min",
    sympy.Max: "max",
    sympy.DiracDelta: "dirac",
}


def constant_value(node: sympy.Expr) -> float:
    """Return the float value of an expression without symbols; NaN or inf where it has none.

    In machine arithmetic, not by SymPy's evaluation to arbitrary precision, which a tower of
    exponentials can keep busy for ever.
    """
    if node.is_Number or node.is_NumberSymbol:
        return float(node)
    if isinstance(node, KnownFunction):
        return float(node.func.value([constant_value(argument) for argument in node.args]))
    if not node.args or node.func not in _NAMES:
        return math.nan
    values = [constant_value(argument) for argument in node.args]
    try:
        if node.func is sympy.Pow:
            return math.pow(*values)
        if node.func in (sympy.Add, sympy.Mul):
            return math.fsum(values) if node.func is sympy.Add else math.prod(values)
        return float(
            _apply(_Instruction(_NAMES[node.func]), values[:1] if node.func is sympy.Heaviside else values, _SCALAR)
        )
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        return math.nan


def _power(base: int, exponent: float) -> _Instruction:
    if exponent == 0.5:
        return _Instruction("sqrt", (base,))
    return _Instruction("constant power", (base,), value=exponent)


def _apply(instruction: _Instruction, operands: list[Array], functions: Elementary) -> Array:
    if instruction.function is not None:
        return instruction.function.value(operands)
    match instruction.operation:
        case "add":
            return reduce(lambda a, b: a + b, operands)
        case "multiply":
            return reduce(lambda a, b: a * b, operands)
        case "min" | "max" as extremum:
            return reduce(functions[extremum], operands)
        case "power":
            return functions["exp"](operands[1] * functions["log"](operands[0]))
        case "constant power":
            exponent = instruction.value
            return operands[0] ** (int(exponent) if exponent.is_integer() else exponent)
        case "dirac":
            return 0.0 * operands[0]  # a point mass is invisible at collocation points; lint names it
        case operation:
            return functions[operation](operands[0])


_SCALAR: Elementary = {
    **{name: getattr(math, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")},
    **{name: getattr(math, name) for name in ("exp", "log", "sqrt", "erf")},
    "abs": abs,
    "sign": lambda z: float((z > 0) - (z < 0)),
    "step": lambda z: 0.5 * ((z > 0) - (z < 0)) + 0.5,
    "min": min,
    "max": max,
}


@cache
def numpy_functions() -> Elementary:
    """Return the elementary functions on NumPy arrays, real or (where they are analytic) complex."""
    import numpy as np
    from scipy.special import erf

    return {
        **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "sqrt")},
        "asin": np.arcsin,
        "acos": np.arccos,
        "atan": np.arctan,
        "abs": lambda z: np.where(np.real(z) < 0, -z, z),  # the real part decides, for complex steps
        "sign": lambda z: np.sign(np.real(z)),
        "step": lambda z: np.heaviside(np.real(z), 0.5),
        "erf": erf,
        "min": lambda a, b: np.where(np.real(a) < np.real(b), a, b),
        "max": lambda a, b: np.where(np.real(a) > np.real(b), a, b),
    }


@cache
def torch_functions() -> Elementary:
    """Return the elementary functions on torch tensors and on what overrides torch's functions."""
    import torch

    return {
        **{
            name: getattr(torch, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
        },
        **{name: getattr(torch, name) for name in ("exp", "log", "sqrt", "abs", "sign", "erf")},
        "step": lambda z: 0.5 * torch.sign(z) + 0.5,
        "min": _torch_extremum("minimum"),
        "max": _torch_extremum("maximum"),
    }


def _torch_extremum(name: str) -> Callable[[Array, Array], Array]:
    """Return minimum or maximum of two arrays of which one may be a float (torch's own refuse floats)."""
    sign = -1.0 if name == "minimum" else 1.0

    def extremum(a: Array, b: Array) -> Array:
        import torch

        return 0.5 * (a + b + sign * torch.abs(a - b))

    return extremum

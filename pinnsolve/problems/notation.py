"""Equations of problem files as a person writes them: in Unicode for terminals, in LaTeX for papers."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from pinnsolve.problems.syntax import parse_equation, parse_expression

_SUM, _SIGN, _PRODUCT, _POWER, _ATOM = range(1, 6)  # how strongly the parts of an expression hang together
_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu"),
    *("xi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "pi"),
)
_LETTERS = dict(zip(_GREEK, "αβγδεζηθκλμνξρστφχψωπ", strict=True))
_BELOW = dict(zip("aehijklmnoprstuvx", "ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_ABOVE = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


class Notation(Protocol):
    """How the parts of an expression are set."""

    def name(self, name: str) -> str:
        """Return a coordinate, constant or field."""
        ...

    def number(self, text: str) -> str:
        """Return a number."""
        ...

    def derivative(self, operand: str, variables: Sequence[str]) -> str:
        """Return a partial derivative."""
        ...

    def product(self, left: str, right: str) -> str:
        """Return left times right."""
        ...

    def quotient(self, left: str, right: str) -> str:
        """Return left over right; both hold together as far as `quotient_strength` asks."""
        ...

    def power(self, base: str, exponent: str) -> str:
        """Return a power."""
        ...

    def call(self, function: str, arguments: Sequence[str]) -> str:
        """Return a function or operator applied to arguments."""
        ...

    def brackets(self, inner: str) -> str:
        """Return an expression in parentheses."""
        ...

    @property
    def minus(self) -> str:
        """The sign."""
        ...

    @property
    def quotient_strength(self) -> tuple[int, int, int]:
        """What numerator and denominator must be, and what the quotient is."""
        ...


@dataclass(frozen=True)
class Terminal:
    """Unicode text; derivatives are subscripts where the coordinates' names have them, else ∂²u/∂y².

    Attributes:
        coordinates: the names that decide it.
    """

    coordinates: Collection[str] = ()
    minus: str = "−"
    quotient_strength: tuple[int, int, int] = (_SIGN, _POWER, _PRODUCT)

    def name(self, name: str) -> str:
        """Return Greek letters for their names."""
        stem, _, rest = name.partition("_")
        return _LETTERS.get(stem, stem) + (f"_{rest}" if rest else "")

    def number(self, text: str) -> str:
        """Return the number as it is."""
        return text

    def derivative(self, operand: str, variables: Sequence[str]) -> str:
        """Return uₓₓ or ∂²u/∂y²."""
        if operand.isidentifier() and all(name in _BELOW for name in self.coordinates):
            return operand + "".join(_BELOW[name] for name in variables)
        counted = {name: list(variables).count(name) for name in variables}
        below = " ".join(f"∂{self.name(name)}{_raised(times)}" for name, times in counted.items())
        return f"∂{_raised(len(variables))}{operand}/{below}"

    def product(self, left: str, right: str) -> str:
        """Return the factors side by side, with a dot where a digit follows."""
        return f"{left}·{right}" if right[0].isdigit() else f"{left} {right}"

    def quotient(self, left: str, right: str) -> str:
        """Return left/right."""
        return f"{left}/{right}"

    def power(self, base: str, exponent: str) -> str:
        """Return whole exponents raised."""
        plain = exponent.replace(self.minus, "-")
        return base + plain.translate(_ABOVE) if plain.lstrip("-").isdigit() else f"{base}^{exponent}"

    def call(self, function: str, arguments: Sequence[str]) -> str:
        """Return Δu, ∂ₙu, √(…), |…| or f(…)."""
        prefix = {"laplacian": "Δ", "biharmonic": "Δ²", "dn": "∂ₙ"}.get(function)
        if prefix:
            return prefix + (arguments[0] if arguments[0].isalnum() else self.brackets(arguments[0]))
        if function == "abs":
            return f"|{arguments[0]}|"
        return ("√" if function == "sqrt" else function) + self.brackets(", ".join(arguments))

    def brackets(self, inner: str) -> str:
        """Return (inner)."""
        return f"({inner})"


@dataclass(frozen=True)
class Latex:
    """LaTeX mathematics."""

    minus: str = "-"
    quotient_strength: tuple[int, int, int] = (_SUM, _SUM, _POWER)

    def name(self, name: str) -> str:
        """Return Greek letters as commands, longer names upright."""
        stem, _, rest = name.partition("_")
        first = rf"\{stem}" if stem in _LETTERS else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
        return first + (rf"_{{\mathrm{{{rest}}}}}" if rest else "")

    def number(self, text: str) -> str:
        """Return 1e-4 as a power of ten."""
        mantissa, _, exponent = text.partition("e")
        if not exponent:
            return text
        factor = "" if mantissa == "1" else rf"{mantissa} \cdot "
        return f"{factor}10^{{{int(exponent)}}}"

    def derivative(self, operand: str, variables: Sequence[str]) -> str:
        """Return u_{xx}."""
        if len(operand) > 1 and not operand.startswith(("\\", "(")):
            operand = f"({operand})"
        names = [self.name(name) for name in variables]
        return f"{operand}_{{{('' if all(len(name) == 1 for name in names) else ' ').join(names)}}}"

    def product(self, left: str, right: str) -> str:
        """Return the factors with a thin space, with a dot where a digit follows."""
        return rf"{left} \cdot {right}" if right[0].isdigit() else rf"{left}\,{right}"

    def quotient(self, left: str, right: str) -> str:
        r"""Return \frac."""
        return rf"\frac{{{left}}}{{{right}}}"

    def power(self, base: str, exponent: str) -> str:
        """Return base^{exponent}."""
        return f"{base}^{{{exponent}}}"

    def call(self, function: str, arguments: Sequence[str]) -> str:
        r"""Return \Delta u, \partial_n u, \sqrt{…}, \sin\left(…\right)."""
        prefix = {"laplacian": r"\Delta ", "biharmonic": r"\Delta^2 ", "dn": r"\partial_n "}.get(function)
        if prefix:
            return prefix + (arguments[0] if arguments[0].isalnum() else self.brackets(arguments[0]))
        if function in ("sqrt", "abs"):
            return rf"\sqrt{{{arguments[0]}}}" if function == "sqrt" else rf"\left|{arguments[0]}\right|"
        known = {"asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan"}
        plain = {"sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "min", "max"}
        name = known.get(function) or (rf"\{function}" if function in plain else rf"\operatorname{{{function}}}")
        return name + self.brackets(", ".join(arguments))

    def brackets(self, inner: str) -> str:
        r"""Return \left(inner\right)."""
        return rf"\left({inner}\right)"


@dataclass(frozen=True)
class Writer:
    """Sets equations of one problem in a notation.

    Attributes:
        notation: how.
        fields: names that stand for fields, so that u_xx is a derivative.
        coordinates: names that derivatives are taken by.
    """

    notation: Notation
    fields: Collection[str]
    coordinates: Collection[str]

    def equation(self, text: str) -> str:
        """Return `left = right`; an expression alone is set equal to zero."""
        left, right = parse_equation(text)
        return f"{self._set(left, _SUM)} = {'0' if right is None else self._set(right, _SUM)}"

    def expression(self, text: str) -> str:
        """Return an expression."""
        return self._set(parse_expression(text), _SUM)

    def _set(self, node: ast.expr, least: int) -> str:
        """Return the expression, in parentheses if it hangs together less than is needed."""
        strength, row = self._row(node)
        return row if strength >= least else self.notation.brackets(row)

    def _row(self, node: ast.expr) -> tuple[int, str]:
        match node:
            case ast.Constant(value=value):
                return _ATOM, self.notation.number(f"{value:g}" if isinstance(value, float) else str(value))
            case ast.Name(id=name):
                return _ATOM, self._name(name)
            case ast.UnaryOp(op=operator, operand=operand):
                sign = self.notation.minus if isinstance(operator, ast.USub) else "+"
                return _SIGN, sign + self._set(operand, _PRODUCT)
            case ast.BinOp(left=left, op=operator, right=right):
                return self._operation(left, operator, right)
            case ast.Call(func=ast.Name(id="d"), args=[operand, *variables]):
                inner = self._set(operand, _ATOM)
                return _ATOM, self.notation.derivative(inner, [v.id for v in variables if isinstance(v, ast.Name)])
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _ATOM, self.notation.call(name, [self._set(argument, _SUM) for argument in arguments])
        return _ATOM, ast.unparse(node)

    def _operation(self, left: ast.expr, operator: ast.operator, right: ast.expr) -> tuple[int, str]:
        match operator:
            case ast.Add():
                return _SUM, f"{self._set(left, _SUM)} + {self._set(right, _SUM)}"
            case ast.Sub():
                return _SUM, f"{self._set(left, _SUM)} {self.notation.minus} {self._set(right, _SIGN)}"
            case ast.Mult():
                return self._signed(left, _PRODUCT), self.notation.product(
                    self._set(left, _SIGN), self._set(right, _PRODUCT)
                )
            case ast.Div():
                above, below, result = self.notation.quotient_strength
                result = self._signed(left, result) if above == _SIGN else result
                return result, self.notation.quotient(self._set(left, above), self._set(right, below))
        exponent = self._set(right, _SIGN if isinstance(self.notation, Terminal) else _SUM)
        return _POWER, self.notation.power(self._set(left, _ATOM), exponent)

    def _signed(self, left: ast.expr, strength: int) -> int:
        """Return the strength of a product or quotient, which is that of a sign if its first part has one."""
        return _SIGN if self._row(left)[0] == _SIGN else strength

    def _name(self, name: str) -> str:
        for field in self.fields:
            letters = name.removeprefix(field + "_")
            if letters != name and letters and all(letter in self.coordinates for letter in letters):
                return self.notation.derivative(self.notation.name(field), list(letters))
        return self.notation.name(name)


def _raised(times: int) -> str:
    return "" if times == 1 else str(times).translate(_ABOVE)

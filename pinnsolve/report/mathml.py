"""Equations of problem files as MathML, which browsers set without any script."""

from __future__ import annotations

import ast

from markupsafe import Markup, escape

from pinnsolve.errors import ProblemError
from pinnsolve.problems.syntax import parse_equation

_SUM, _SIGN, _PRODUCT, _POWER, _ATOM = range(1, 6)  # how strongly the parts of an expression hang together
_GREEK = dict(
    zip(
        ("alpha", "beta", "gamma", "delta", "epsilon", "theta", "kappa", "lambda", "mu", "nu", "rho", "sigma", "tau"),
        "αβγδεθκλμνρστ",
        strict=True,
    )
) | {"phi": "φ", "psi": "ψ", "omega": "ω", "pi": "π", "eta": "η", "xi": "ξ", "chi": "χ"}
_OPERATORS = {"laplacian": "<mi>Δ</mi>", "biharmonic": "<msup><mi>Δ</mi><mn>2</mn></msup>"}


def equation_mathml(text: str) -> Markup | None:
    """Return `left = right` as a MathML element; None if the text is no equation of a problem file."""
    try:
        left, right = parse_equation(text)
    except ProblemError:
        return None
    zero = "<mn>0</mn>" if right is None else _inner(right, _SUM)
    # every name and number below is escaped where it enters
    return Markup(f"<math>{_inner(left, _SUM)}<mo>=</mo>{zero}</math>")


def _inner(node: ast.expr, least: int) -> str:
    """Return the row of the expression, in parentheses if it hangs together less than is needed."""
    strength, row = _row(node)
    return row if strength >= least else f"<mrow><mo>(</mo>{row}<mo>)</mo></mrow>"


def _row(node: ast.expr) -> tuple[int, str]:
    match node:
        case ast.Constant(value=value):
            return _ATOM, f"<mn>{escape(f'{value:g}' if isinstance(value, float) else value)}</mn>"
        case ast.Name(id=name):
            return _ATOM, _name(name)
        case ast.UnaryOp(op=operator, operand=operand):
            sign = "−" if isinstance(operator, ast.USub) else "+"
            return _SIGN, f"<mrow><mo>{sign}</mo>{_inner(operand, _PRODUCT)}</mrow>"
        case ast.BinOp(left=left, op=operator, right=right):
            return _operation(left, operator, right)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _ATOM, _call(name, arguments)
    return _ATOM, f"<mtext>{escape(ast.unparse(node))}</mtext>"


def _operation(left: ast.expr, operator: ast.operator, right: ast.expr) -> tuple[int, str]:
    match operator:
        case ast.Add():
            return _SUM, f"<mrow>{_inner(left, _SUM)}<mo>+</mo>{_inner(right, _SUM)}</mrow>"
        case ast.Sub():
            return _SUM, f"<mrow>{_inner(left, _SUM)}<mo>−</mo>{_inner(right, _SIGN)}</mrow>"
        case ast.Mult():
            dot = "<mo>·</mo>" if isinstance(right, ast.Constant) else "<mo>&#x2062;</mo>"
            return _PRODUCT, f"<mrow>{_inner(left, _PRODUCT)}{dot}{_inner(right, _PRODUCT)}</mrow>"
        case ast.Div():
            return _ATOM, f"<mfrac>{_inner(left, _SUM)}{_inner(right, _SUM)}</mfrac>"
    return _POWER, f"<msup>{_inner(left, _ATOM)}{_inner(right, _SUM)}</msup>"


def _call(name: str, arguments: list[ast.expr]) -> str:
    rows = [_inner(argument, _SUM) for argument in arguments]
    if name == "sqrt" and len(rows) == 1:
        return f"<msqrt>{rows[0]}</msqrt>"
    if name == "abs" and len(rows) == 1:
        return f"<mrow><mo>|</mo>{rows[0]}<mo>|</mo></mrow>"
    if name == "d" and len(rows) > 1:
        return f"<msub>{_inner(arguments[0], _ATOM)}<mrow>{'<mo>,</mo>'.join(rows[1:])}</mrow></msub>"
    if name == "dn" and len(rows) == 1:
        return f"<msub><mo>∂</mo><mi>n</mi></msub>{_inner(arguments[0], _ATOM)}"
    if name in _OPERATORS and len(rows) == 1:
        return f"<mrow>{_OPERATORS[name]}{_inner(arguments[0], _ATOM)}</mrow>"
    return f"<mrow><mi>{escape(name)}</mi><mo>(</mo>{'<mo>,</mo>'.join(rows)}<mo>)</mo></mrow>"


def _name(name: str) -> str:
    stem, _, below = name.partition("_")
    if not (stem and below):
        return f"<mi>{escape(_GREEK.get(name, name))}</mi>"
    letters = "".join(f"<mi>{escape(letter)}</mi>" for letter in below)  # one by one: a longer <mi> is upright
    return f"<msub><mi>{escape(_GREEK.get(stem, stem))}</mi><mrow>{letters}</mrow></msub>"

"""The grammar of expressions in problem files: arithmetic, names and calls, and nothing else.

Text becomes a checked Python syntax tree. Nothing is ever compiled or executed; a tree that holds
anything outside the allow-list is refused with the column where it stands.
"""

from __future__ import annotations

import ast
import math
import re
import warnings

from pinnsolve.errors import ProblemError

MAX_LENGTH = 2000
MAX_NODES = 500
MAX_DEPTH = 40
MAX_EXPONENT = 16

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub)
_ALLOWED = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant)
_REMEDY = "write arithmetic with + - * / ** ( ), numbers, names and functions of the problem"
_REGION_REMEDY = "combine shapes such as disk(0, 0, 1) with + (union), - (difference), & (intersection) and ( )"

_DERIVATIVE_OF_PARENTHESES = re.compile(r"\)\s*_(?P<coordinates>[A-Za-z]+)\b")  # (u^2)_xx, as mathematicians write


def parse_equation(text: str) -> tuple[ast.expr, ast.expr | None]:
    """Return the trees of `left = right`; right is None for an expression that shall be zero.

    Raises:
        ProblemError: more than one `=`, or either side is not an expression.
    """
    _check_text(text)
    sides = text.split("=")
    if len(sides) > 2:
        raise ProblemError(f"an equation has one '=', got {_shown(text)}", remedy="write left = right")
    return parse_expression(sides[0]), parse_expression(sides[1]) if len(sides) == 2 else None


def parse_region(text: str) -> ast.expr:
    """Return the checked syntax tree of a region: an expression that may also intersect with `&`.

    Raises:
        ProblemError: as `parse_expression` does.
    """
    return parse_expression(text, (*_OPERATORS, ast.BitAnd), _REGION_REMEDY)


def parse_expression(text: str, operators: tuple[type[ast.AST], ...] = _OPERATORS, remedy: str = _REMEDY) -> ast.expr:
    """Return the checked syntax tree of an expression; `^` and `**` are both powers.

    Args:
        text: the expression.
        operators: those that it may hold.
        remedy: what an error message advises.

    Raises:
        ProblemError: the text is too long or deep, is no expression, or holds a construct that
            expressions do not have; the message gives the column.
    """
    _check_text(text)
    # blanks instead of line ends keep the columns; a leading blank would be an indent to Python
    source = text.replace("^", "**").translate({10: " ", 13: " ", 9: " "}).strip()
    if not source:
        raise ProblemError("the expression is empty", remedy=remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own hints on odd literals are not for our users
            tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        column = error.offset or len(text) + 1  # Python gives 0 where the text ends too early
        if derivative := _DERIVATIVE_OF_PARENTHESES.search(source):
            remedy = f"write the derivative of an expression as d(expression, {', '.join(derivative['coordinates'])})"
        raise ProblemError(f"not an expression: {_shown(text)}, column {column}", remedy=remedy) from None
    except (ValueError, MemoryError, RecursionError, OverflowError):
        raise ProblemError(f"the expression is too deeply nested: {_shown(text)}", remedy=remedy) from None
    _check_tree(tree, text, operators, remedy)
    return tree


def names_in(tree: ast.expr) -> set[str]:
    """Return every name that the tree reads or calls."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 80 else flat[:77] + "...")


def _check_text(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ProblemError(
            f"the expression has {len(text)} characters, at most {MAX_LENGTH} are read",
            remedy="split it into several equations or constants",
        )
    for column, character in enumerate(text, start=1):
        if not (character.isascii() and (character.isprintable() or character in "\t\r\n")):
            raise ProblemError(
                f"character U+{ord(character):04X} at column {column} is not plain ASCII",
                remedy="spell names and numbers with the letters a-z and the digits 0-9",
            )
        if character == "#":  # to Python a comment, which would hide what follows, also on later lines
            raise ProblemError(f"a '#' at column {column} of {_shown(text)}", remedy="put comments outside the quotes")


def _check_tree(tree: ast.expr, text: str, operators: tuple[type[ast.AST], ...], remedy: str) -> None:
    pending: list[tuple[ast.AST, int]] = [(tree, 1)]
    nodes = 0
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ProblemError(
                f"the expression is too large (at most {MAX_NODES} parts, {MAX_DEPTH} levels): {_shown(text)}",
                remedy="split it into several equations or constants",
            )
        _check_node(node, text, operators, remedy)
        pending.extend((child, depth + 1) for child in _operands(node))


def _operands(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Call(func=function, args=arguments):
            return [function, *arguments]
    return []


def _check_node(node: ast.AST, text: str, operators: tuple[type[ast.AST], ...], remedy: str) -> None:
    column = getattr(node, "col_offset", 0) + 1
    if not isinstance(node, _ALLOWED):
        raise ProblemError(f"{type(node).__name__} is not allowed at column {column} of {_shown(text)}", remedy=remedy)
    if isinstance(node, ast.BinOp | ast.UnaryOp) and not isinstance(node.op, operators):
        name = type(node.op).__name__
        raise ProblemError(f"operator {name} is not allowed at column {column} of {_shown(text)}", remedy=remedy)
    if isinstance(node, ast.Call) and (not isinstance(node.func, ast.Name) or node.keywords):
        raise ProblemError(f"only f(a, b) is a call, column {column} of {_shown(text)}", remedy=remedy)
    if isinstance(node, ast.Constant):
        _check_number(node.value, column, text)


def _check_number(value: object, column: int, text: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = type(value).__name__
        raise ProblemError(f"a {kind} is not a number, column {column} of {_shown(text)}", remedy=_REMEDY)
    try:
        finite = math.isfinite(float(value))
    except OverflowError:
        finite = False
    if not finite:
        raise ProblemError(f"the number at column {column} of {_shown(text)} is not finite", remedy=_REMEDY)

"""From a problem file to a `Problem`: names get meanings, equations become residuals."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path

import sympy

from pinnsolve.errors import ProblemError, unknown_name
from pinnsolve.problems.expressions import Scope
from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.frame import Frame, read_name, read_number
from pinnsolve.problems.geometry.domain import Part
from pinnsolve.problems.geometry.reading import domain_as_box, located
from pinnsolve.problems.invariants import read_invariant
from pinnsolve.problems.problem import (
    Condition,
    Face,
    Field,
    Inequality,
    Invariant,
    Problem,
    Reference,
    Residual,
)
from pinnsolve.problems.schema import ConditionTable, FieldTable, ProblemTable, read_content, read_table
from pinnsolve.problems.syntax import names_in, parse_equation
from pinnsolve.problems.where import PlaceReader, outward_normal

MOST_CONDITIONS = 500


def load_problem_file(path: Path) -> Problem:
    """Return the problem that a TOML file describes.

    Raises:
        ProblemError: the file cannot be read or used; names file, key, value and remedy.
    """
    return parse_problem(read_content(path), path)


def parse_problem(content: bytes, path: Path) -> Problem:
    """Return the problem that the content of a file describes; `path` names it and locates its data."""
    file = path.name
    table = read_table(content, file)
    try:
        return _Reader(table, path).problem(content)
    except ProblemError as error:
        raise error.located(file=file) from None


class _Reader:
    """Reads one table; holds the names as they become known."""

    def __init__(self, table: ProblemTable, path: Path) -> None:
        self.table, self.path = table, path
        frame = Frame(table)
        self.constants, self.coordinates, self.symbols = frame.constants, frame.coordinates, frame.symbols
        self.time, self.domain = frame.time, frame.domain
        self.fields = self._fields()
        plain = Scope(coordinates=self._by_name(self.symbols), constants=self.constants)
        self.exact = self._exact(plain)
        self.scope = Scope(
            coordinates=plain.coordinates,
            constants=self.constants,
            fields={field.name: field.symbol for field in self.fields},
            space=tuple(x.name for x in self.symbols if x.name != self.time),
            reference=self.exact,
        )

    def problem(self, content: bytes) -> Problem:
        table, text = self.table, content.decode("utf-8-sig")
        equations = tuple(self._equation(name, text) for name, text in table.equations.items())
        if not equations:
            raise ProblemError("a problem needs at least one equation", key="equations")
        self._check_fields_used(equations)
        return Problem(
            name=self.path.stem,
            title=table.title,
            coordinates=self.coordinates,
            fields=self.fields,
            equations=equations,
            conditions=self._conditions(),
            time=self.time,
            source=table.source,
            tags=tuple(table.tags),
            constants=self.constants,
            reference=self._reference(),
            defaults=table.solve,
            text=text,
            digest=hashlib.sha256(text.encode()).hexdigest(),
            domain=None if self.domain is None or domain_as_box(self.domain) else self.domain,
            invariants=tuple(self._invariant(name, text) for name, text in table.invariants.items()),
        )

    def _invariant(self, name: str, text: str) -> Invariant:
        key = f"invariants.{name}"
        if self.domain is not None and domain_as_box(self.domain) is None:
            raise ProblemError("integrals are taken over boxes only", key=key, remedy="remove it")
        return located(key, lambda given: read_invariant(name, given, self.scope, self.time), text)

    @staticmethod
    def _by_name(symbols: tuple[sympy.Symbol, ...]) -> dict[str, sympy.Symbol]:
        return {symbol.name: symbol for symbol in symbols}

    def _fields(self) -> tuple[Field, ...]:
        given = self.table.fields
        tables = given if isinstance(given, dict) else {name: FieldTable() for name in given}
        if not tables:
            raise ProblemError("a problem needs at least one field", key="fields")
        if isinstance(given, list) and len(set(given)) < len(given):
            raise ProblemError(f"a field stands twice in {given}", key="fields")
        taken = {**self.constants, **self._by_name(self.symbols)}
        return tuple(self._field(read_name(name, "fields", taken), table) for name, table in tables.items())

    def _field(self, name: str, table: FieldTable) -> Field:
        self._refuse_ambiguous(name)
        key = f"fields.{name}.range"
        bounds = (-math.inf, math.inf)
        if table.range == "positive":
            bounds = (0.0, math.inf)
        elif table.range is not None:
            if len(table.range) != 2:
                raise ProblemError(f"a range has two ends, got {len(table.range)}", key=key, remedy="write [0, 1]")
            scope = Scope(constants=self.constants)
            bounds = tuple(constant_value(read_number(scope, end, key)) for end in table.range)  # type: ignore[assignment]
        try:
            return Field(sympy.Function(name, real=True)(*self.symbols), bounds, table.label, table.unit)
        except ProblemError as error:
            raise error.located(key=key) from None

    def _refuse_ambiguous(self, field: str) -> None:
        """Raise if a constant, coordinate or other field is called as one of the field's derivatives, such as u_x."""
        others = {f"constants.{name}": name for name in self.constants}
        others |= {f"coordinates.{symbol.name}": symbol.name for symbol in self.symbols}
        others |= {f"fields.{name}": name for name in self.table.fields}
        for key, other in others.items():
            along = other.removeprefix(f"{field}_")
            if along and along != other and set(along) <= set(self.table.coordinates):
                raise ProblemError(f"{other!r} also names a derivative of {field!r}", key=key)

    def _exact(self, scope: Scope) -> dict[str, sympy.Expr]:
        if self.table.manufactured is not None and self.table.reference.exact is not None:
            raise ProblemError("a manufactured solution is the reference already", key="reference.exact")
        table, key = self.table.manufactured, "manufactured"
        if table is None:
            table, key = self.table.reference.exact, "reference.exact"
        if table is None:
            return {}
        names = [field.name for field in self.fields]
        for name in table:
            if name not in names:
                raise ProblemError(unknown_name("field", name, names), key=key)
        if key == "manufactured" and len(table) < len(names):
            missing = sorted(set(names) - set(table))
            raise ProblemError(f"the solution of {missing[0]!r} is missing", key=key)
        return {name: located(f"{key}.{name}", scope.expression, text) for name, text in table.items()}

    def _equation(self, name: str, text: str) -> Residual:
        key = f"equations.{name}"
        expression = located(key, self.scope.equation, text)
        if self.table.manufactured is not None:
            expression = expression - located(key, self.scope.in_reference, expression)
        residual = self._residual(name, expression)
        if not residual.partials:
            raise ProblemError(f"no field stands in {text!r}", key=key)
        return residual

    def _residual(self, name: str, expression: sympy.Expr) -> Residual:
        return Residual(name, expression, self.symbols, tuple(field.symbol for field in self.fields))

    def _check_fields_used(self, equations: tuple[Residual, ...]) -> None:
        used = {partial.field for equation in equations for partial in equation.partials}
        for field in self.fields:
            if field.name not in used:
                raise ProblemError(
                    f"the field {field.name!r} stands in no equation",
                    key="fields",
                    remedy="remove it or add an equation",
                )

    def _conditions(self) -> tuple[Condition, ...]:
        result: list[Condition] = []
        reader = PlaceReader(self.coordinates, self.time, self.constants, self.domain)
        for number, table in enumerate(self.table.conditions, start=1):
            key = f"conditions[{number}]"
            places = [table.where] if isinstance(table.where, str) else list(table.where)
            if not places:
                raise ProblemError("a condition needs a place", key=f"{key}.where")
            for place in places:
                for face, restrictions in reader.places(place, f"{key}.where"):
                    has_normal = located(f"{key}.equation", _names_normal, table.equation)
                    for side in face.single_sides if has_normal else [face]:
                        result.append(self._condition(table, f"{key}.equation", side, restrictions))
        for name, count in Counter(condition.name for condition in result).items():
            if count > 1:
                raise ProblemError(f"two conditions are named {name!r}", key="conditions", remedy="remove one of them")
        if len(result) > MOST_CONDITIONS:
            message = f"there are {len(result)} conditions on faces, at most {MOST_CONDITIONS} are read"
            raise ProblemError(message, key="conditions", remedy="write those on parts of one face as one expression")
        return tuple(result)

    def _condition(
        self, table: ConditionTable, key: str, face: Face | Part, restrictions: tuple[Inequality, ...]
    ) -> Condition:
        expression = located(
            key, self.scope.with_normal(outward_normal(face, len(self.symbols))).equation, table.equation
        )
        where = face.where if isinstance(face, Part) else f"{self.symbols[face.axis].name} = {face.value}"
        if restrictions:
            where += " and " + " and ".join(f"{restriction.margin} > 0" for restriction in restrictions)
        residual = self._residual(f"{' '.join((table.name or table.equation).split())} at {where}", expression)
        if not residual.partials:
            raise ProblemError(f"no field stands in {table.equation!r}", key=key)
        return Condition(where, face, residual, restrictions)

    def _reference(self) -> Reference:
        table = self.table.reference
        given = [key for key in ("exact", "solver", "file") if getattr(table, key) is not None]
        if len(given) > 1:
            raise ProblemError(f"{' and '.join(given)} exclude each other", key="reference")
        if table.error is not None and table.file is None:
            raise ProblemError("only a file has an error to be told", key="reference.error", remedy="remove it")
        if table.file is not None:
            return Reference(self.exact, file=self._data_file(table.file, "reference.file"), error=table.error)
        return Reference(self.exact, solver="none" if self.exact else (table.solver or "auto"))

    def _data_file(self, name: str, key: str) -> Path:
        folder = self.path.parent.resolve()
        try:
            path = (folder / name).resolve()
        except (OSError, ValueError):
            raise ProblemError(f"{name[:60]!r} is not a file name", key=key) from None
        if not path.is_relative_to(folder):
            raise ProblemError(
                f"{name[:60]!r} lies outside the folder of the problem", key=key, remedy="copy it beside the problem"
            )
        if not path.is_file():
            raise ProblemError(f"there is no file {name[:60]!r} beside the problem", key=key)
        return path


def _names_normal(equation: str) -> bool:
    """Return whether an equation holds a normal derivative."""
    return any("dn" in names_in(side) for side in parse_equation(equation) if side is not None)

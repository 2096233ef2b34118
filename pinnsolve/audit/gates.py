"""Thresholds on an audit: what `pinnsolve audit --fail-on` refuses."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pinnsolve.audit.records import Finding
from pinnsolve.audit.verdict import VERDICTS
from pinnsolve.errors import SettingsError, unknown_name

_THRESHOLD = re.compile(r"\s*(?P<column>\w+)\s*>\s*(?P<bound>[^>]+)\s*")
_COLUMNS = tuple(
    field.name for field in dataclasses.fields(Finding) if field.name not in ("term", "scheme", "dtype", "verdict")
)


@dataclass(frozen=True)
class Gate:
    """What a finding must not be: of a verdict, or above a bound in a column.

    Attributes:
        name: the verdict or the column.
        bound: of the column; None for a verdict.
    """

    name: str
    bound: float | None = None

    def stops(self, finding: Finding) -> bool:
        """Return whether the finding fails; a column without a number passes."""
        if self.bound is None:
            return finding.verdict == self.name
        value = getattr(finding, self.name)
        return value is not None and value > self.bound


def parse_gates(text: str) -> tuple[Gate, ...]:
    """Return the gates of a comma list of verdicts and of thresholds `column>bound`.

    >>> parse_gates("derivative mismatch, decision>1")
    (Gate(name='derivative mismatch', bound=None), Gate(name='decision', bound=1.0))

    Raises:
        SettingsError: a verdict or column is unknown, or a bound is not a number.
    """
    return tuple(_gate(part.strip()) for part in text.split(",") if part.strip())


def _gate(text: str) -> Gate:
    match = _THRESHOLD.fullmatch(text)
    if match is None:
        if text not in VERDICTS:
            raise SettingsError(
                unknown_name("verdict", text, VERDICTS) + f"; or column>number of {', '.join(_COLUMNS)}"
            )
        return Gate(text)
    if match["column"] not in _COLUMNS:
        raise SettingsError(unknown_name("column of the audit", match["column"], _COLUMNS))
    try:
        bound = float(match["bound"])
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise SettingsError(f"a threshold needs a number after '>', got {match['bound']!r}")
    return Gate(match["column"], bound)


def refused(summary: Sequence[Finding], gates: Sequence[Gate]) -> list[str]:
    """Return one line for every finding that a gate stops."""
    return [
        f"{finding.term} {finding.scheme} {finding.dtype}: "
        + (
            finding.verdict
            if gate.bound is None
            else f"{gate.name} = {getattr(finding, gate.name):.3g} > {gate.bound:g}"
        )
        for finding in summary
        for gate in gates
        if gate.stops(finding)
    ]

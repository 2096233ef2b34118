"""The result of a run as tables of text, the same for the terminal and for the page."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Metrics = Mapping[str, Any]
MISSING = "–"
_CLASSICAL = ("; this run took", "not to that of this run")  # in what a summary says of the classical solver


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column is text, `numeric` tells which others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"the table {self.title!r} has {len(self.columns)} columns, a row has {len(row)}")


def plain(text: object) -> str:
    r"""Return the text on one line, without control, escape, bidirectional and other invisible characters.

    >>> plain("a\x1b]0;b\nc\u202e")
    'a]0;b c'
    """
    flat = str(text).replace("\t", " ").replace("\n", " ")
    return "".join(letter for letter in flat if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))


def number(value: object, digits: int = 3) -> str:
    """Return a number with so many significant digits; a dash if it is none or not finite.

    >>> [number(x) for x in (5.7e-05, 0.25, 12345.6, None, float("nan"))]
    ['5.70e-5', '0.250', '1.23e4', '–', '–']
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -1 <= exponent < digits + 1:
        return f"{value:.{max(digits - 1 - exponent, 0)}f}"
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(power)}"


def count(value: object) -> str:
    """Return a whole number with thin spaces between thousands.

    >>> count(11520000)
    '11\u2009520\u2009000'
    """
    return f"{value:,}".replace(",", "\u2009") if isinstance(value, int) else MISSING


def accuracy_table(metrics: Metrics, units: Mapping[str, str] | None = None) -> Table:
    """Return the error of each field, in its unit if it has one, and the error of the reference itself beside it."""
    fields = _mapping(metrics, "fields")
    rows = [
        (
            plain(name),
            number(score.get("relative_l2")),
            _measured(score.get("max_error"), (units or {}).get(name, "")),
            plain(score.get("reference") or "none"),
            number(score.get("reference_error")),
        )
        for name, score in fields.items()
    ]
    rows += [
        (f"{plain(name)} (unknown)", number(found.get("relative_error")), MISSING, _known(found), MISSING)
        for name, found in _mapping(metrics, "unknowns").items()
    ]
    columns = ("field", "relative L2 error", "largest error", "reference", "error of the reference")
    return Table("Accuracy", columns, tuple(rows), frozenset({1, 2, 4}), _accuracy_note(metrics, fields))


def residual_table(metrics: Metrics) -> Table:
    """Return how well each equation and each condition is met."""
    rows = tuple(
        (plain(name), kind, number(size.get("rms")), number(size.get("max")))
        for key, kind in (("residuals", "equation"), ("conditions", "condition"))
        for name, size in _mapping(metrics, key).items()
    )
    return Table("Residuals", ("name", "kind", "rms", "largest"), rows, frozenset({2, 3}))


def audit_table(metrics: Metrics) -> Table:
    """Return the derivative audit: one row for each derivative, scheme and precision at the best step."""
    rows = tuple(
        (
            *(plain(row.get(key) or MISSING) for key in ("term", "scheme", "dtype")),
            *(number(row.get(key)) for key in ("step", "fd_vs_ad", "predicted_error", "ad_vs_exact", "fd_vs_exact")),
            number(row.get("observed_order")),
            number(row.get("kink_fraction"), 2),
            plain(row.get("verdict") or MISSING),
        )
        for row in _audit_rows(metrics)
    )
    columns = (
        *("derivative", "scheme", "precision", "best step h", "FD − AD", "predicted", "AD − exact", "FD − exact"),
        *("observed order", "kinked", "verdict"),
    )
    note = "Errors are root mean squares over the audit points, relative to that of the derivative."
    return Table("Derivative audit", columns, rows, frozenset(range(3, 10)), note)


def audit_summary_table(metrics: Metrics) -> Table:
    """Return for each derivative the best finite difference in float64 against the network's own error."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in _audit_rows(metrics):
        error = row.get("fd_vs_ad")
        if row.get("dtype") == "float64" and isinstance(error, int | float):
            term = str(row.get("term"))
            if term not in best or error < best[term]["fd_vs_ad"]:
                best[term] = row
    rows = tuple(_summary_row(term, row) for term, row in best.items())
    columns = ("derivative", "best scheme", "step h", "FD − AD", "AD − exact", "ratio", "verdict")
    note = (
        "FD − AD: error of the finite difference as a derivative of the network. AD − exact: error of the network. "
        "Ratio: the first over the second; below 0.1 finite differences are adequate, above 1 they dominate."
    )
    return Table("Finite differences against autodiff", columns, rows, frozenset({2, 3, 4, 5}), note)


def discretisation_table(metrics: Metrics) -> Table:
    """Return what a run that was trained with finite differences leaves of each equation by autodiff; else no row."""
    found = metrics.get("discretisation")
    record = found if isinstance(found, Mapping) else {}
    differenced, differentiated = _mapping(record, "differenced"), _mapping(record, "differentiated")
    rows = tuple(
        (
            plain(name),
            *(number(table.get(name, {}).get("rms")) for table in (differenced, differentiated)),
            number((record.get("roughness") or {}).get(name), 2),
            _hidden(record, name),
        )
        for name in differenced
    )
    columns = ("residual of", "rms by the differences of training", "rms by autodiff", "roughness", "finding")
    note = (
        "At points that training did not use. Roughness: second difference of the residual by autodiff over half a "
        "step, relative to it; 0.59 for a wavelength of two steps, 0.006 for one of twenty."
    )
    return Table("What the differences of training do not see", columns, rows, frozenset({1, 2, 3}), note)


def _hidden(record: Metrics, name: str) -> str:
    if name in (record.get("decoupled") or []):
        return "odd-even decoupling: it oscillates on the scale of the step"
    return "truncation error of the differences" if name in (record.get("hidden") or {}) else "adequate"


def settings_table(settings: Mapping[str, Any], title: str = "Settings") -> Table:
    """Return settings (or any nested record) with dotted names, one row each."""
    return Table(title, ("name", "value"), tuple((plain(key), plain(value)) for key, value in _flat(settings)))


def _summary_row(term: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    network = row.get("ad_vs_exact")
    ratio = row["fd_vs_ad"] / network if isinstance(network, int | float) and network else None
    return (
        plain(term),
        plain(row.get("scheme")),
        *(number(value) for value in (row.get("step"), row["fd_vs_ad"], network, ratio)),
        plain(row.get("verdict") or MISSING),
    )


def _audit_rows(metrics: Metrics) -> list[Mapping[str, Any]]:
    rows = metrics.get("derivatives")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _mapping(metrics: Metrics, key: str) -> dict[str, Mapping[str, Any]]:
    table = metrics.get(key)
    return {k: v for k, v in table.items() if isinstance(v, Mapping)} if isinstance(table, Mapping) else {}


def _measured(value: object, unit: str) -> str:
    text = number(value)
    return f"{text} {plain(unit)}" if unit and text != MISSING else text


def _known(found: Mapping[str, Any]) -> str:
    return f"estimate {number(found.get('estimate'), 6)}, true {number(found.get('true'), 6)}"


def _accuracy_note(metrics: Metrics, fields: Mapping[str, Mapping[str, Any]]) -> str:
    sentences = [
        f"The error of {plain(name)} is not larger than that of its reference and may be of either."
        for name, score in fields.items()
        if _at_most(score.get("relative_l2"), score.get("reference_error"))
    ]
    classical = metrics.get("classical")
    told = metrics.get("summary")
    is_told = isinstance(told, list) and any(part in str(sentence) for sentence in told for part in _CLASSICAL)
    if isinstance(classical, Mapping) and not is_told:
        sentences.append(_classical_note(classical, metrics.get("seconds")))
    return " ".join(sentences)


def _classical_note(classical: Mapping[str, Any], own_seconds: object) -> str:
    error, seconds = number(classical.get("relative_l2")), number(classical.get("seconds"))
    solver = f"A classical solver ({plain(classical.get('solver'))})"
    if classical.get("reached") is False:
        return f"{solver} came to {error} in {seconds} s, not to the error of this run."
    return f"{solver} reaches {error} in {seconds} s; this run took {number(own_seconds)} s."


def _at_most(error: object, bound: object) -> bool:
    return isinstance(error, int | float) and isinstance(bound, int | float) and error <= bound


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", str(value).lower() if isinstance(value, bool) else str(value)

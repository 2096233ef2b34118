"""The report of a run: one HTML file that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinnsolve.errors import RunFolderError
from pinnsolve.report import tables
from pinnsolve.report.captions import AUDIT_FIGURES, alternative, caption
from pinnsolve.report.problem_copy import problem_table, units
from pinnsolve.runs import RunFolder


def build_report(folder: RunFolder) -> Path:
    """Draw all figures and the page `report.html` of a run anew, from its saved numbers alone.

    Raises:
        RunFolderError: the saved numbers cannot be read or do not fit together.
        ResourceError: the disk is full or cannot be written.
    """
    from pinnsolve.report.figures import draw_figures  # imports matplotlib
    from pinnsolve.report.markup import environment  # imports Jinja2

    metrics = folder.metrics()
    drawn = draw_figures(folder)
    try:
        figures = [_figure(name, svg, metrics) for name, svg in drawn.items()]
        html = environment().get_template("run.html").render(**_content(folder, metrics), figures=figures)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise RunFolderError(f"{folder.path}/metrics.json: the values have the wrong types ({error})") from error
    return folder.write_page(html)


def _content(folder: RunFolder, metrics: Mapping[str, Any]) -> dict[str, Any]:
    problem = problem_table(folder)
    return {
        "title": metrics.get("title") or problem.get("title") or metrics.get("problem") or folder.name,
        "source": problem.get("source") or "",
        "run": folder.name,
        "status": str(metrics.get("status") or "unknown"),
        "reason": metrics.get("reason") or "",
        "summary": _texts(metrics.get("summary")),
        "warnings": _texts(metrics.get("warnings")),
        "facts": _facts(metrics),
        "domain": _domain(metrics),
        "equations": [_equation(name, text) for name, text in (metrics.get("equations") or {}).items()],
        "conditions": _conditions(problem),
        "tables": _filled([tables.accuracy_table(metrics, units(problem)), tables.residual_table(metrics)]),
        "audit": _filled([tables.audit_summary_table(metrics), tables.discretisation_table(metrics)]),
        "verdicts": _verdicts(metrics),
        "audit_in_full": _filled([tables.audit_table(metrics)]),
        "records": _filled(_record_tables(folder, metrics)),
        "command": metrics.get("command") or "",
        "provenance": _provenance(folder, metrics),
    }


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("time", f"{tables.number(metrics.get('seconds'))} s"),
        ("steps", tables.count(metrics.get("steps"))),
        ("parameters", tables.count(metrics.get("parameters"))),
        ("residual evaluations", tables.count(metrics.get("residual_evaluations"))),
        ("time of the reference", f"{tables.number(metrics.get('reference_seconds'))} s"),
    ]
    return [(name, value) for name, value in facts if not value.startswith(tables.MISSING) and value != "0 s"]


def _verdicts(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return each verdict on the best finite differences in float64, the derivatives it is on, and what it means."""
    from pinnsolve.audit.verdict import VERDICTS

    found: dict[str, list[str]] = {}
    for row in tables.audit_summary_table(metrics).rows:
        found.setdefault(row[-1], []).append(row[0])
    return [
        {"verdict": verdict, "derivatives": ", ".join(terms), "meaning": _sentence(VERDICTS[verdict])}
        for verdict, terms in found.items()
        if verdict in VERDICTS
    ]


def _sentence(meaning: str) -> str:
    plain_words = meaning or "finite differences and automatic differentiation agree as well as the solution is known"
    return plain_words[0].upper() + plain_words[1:] + "."


def _provenance(folder: RunFolder, metrics: Mapping[str, Any]) -> str:
    """Return with what the run was made: versions, device, seed, the hash of the problem file."""
    environment = metrics.get("environment") or {}
    packages = [
        f"{name} {environment[name]}" for name in ("pinnsolve", "torch", "numpy", "python") if name in environment
    ]
    places = [f"on {environment['device']}" if "device" in environment else ""]
    threads = environment.get("threads")
    places += [f"{threads} thread{'' if threads == 1 else 's'}" if threads is not None else ""]
    settings = metrics.get("settings") or {}
    places += [f"seed {settings['seed']}" if "seed" in settings else ""]
    about = folder.settings().get("problem") if folder.has("settings.toml") else None
    digest = about.get("sha256") if isinstance(about, Mapping) else None
    places += [f"problem file of SHA-256 {str(digest)[:16]}" if digest else ""]
    known = [part for part in [*packages, *places] if part]
    return f"Made with {', '.join(known)}." if known else ""


def _domain(metrics: Mapping[str, Any]) -> str:
    intervals = (metrics.get("coordinates") or {}).items()
    return ", ".join(f"{name} ∈ [{low:g}, {high:g}]" for name, (low, high) in intervals)


def _equation(name: str, text: str) -> dict[str, Any]:
    from pinnsolve.report.mathml import equation_mathml

    return {"name": name, "text": text, "math": equation_mathml(str(text))}


def _conditions(problem: Mapping[str, Any]) -> list[dict[str, Any]]:
    conditions = problem.get("conditions")
    found = []
    for condition in conditions if isinstance(conditions, list) else []:
        where = condition.get("where", "")
        places = " and ".join(str(place) for place in where) if isinstance(where, list) else str(where)
        found.append({**_equation("", str(condition.get("equation", ""))), "where": places})
    return found


def _record_tables(folder: RunFolder, metrics: Mapping[str, Any]) -> list[tables.Table]:
    settings = folder.settings() if folder.has("settings.toml") else metrics.get("settings") or {}
    environment = metrics.get("environment") or {}
    return [tables.settings_table(settings), tables.settings_table(environment, "Environment")]


def _filled(candidates: list[tables.Table]) -> list[tables.Table]:
    return [table for table in candidates if table.rows]


def _texts(value: Any) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


def _figure(name: str, svg: bytes, metrics: Mapping[str, Any]) -> dict[str, Any]:
    from pinnsolve.report.markup import encoded

    coordinates = metrics.get("coordinates") or {}
    scores = (metrics.get("fields") or {}).values()
    referenced = any(score.get("reference") for score in scores)
    text = caption(name, len(coordinates), referenced=referenced, time=metrics.get("time") in coordinates)
    data = encoded(svg)
    return {"name": name, "caption": text, "alt": alternative(name), "data": data, "audit": name in AUDIT_FIGURES}

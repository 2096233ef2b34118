"""`audit`, `report`, `predict`: what can be asked of a finished run."""

from __future__ import annotations

import csv
import io
import json as json_text
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.cli.points import file_points, grid_points, outside
from pinnsolve.cli.terminal import number, say, show_table
from pinnsolve.errors import InputError, RequirementError, ResourceError

if TYPE_CHECKING:
    from pinnsolve.audit import DerivativeAudit
    from pinnsolve.problems import Problem
    from pinnsolve.solving import Session

FORMATS = ("csv", "npz", "vtk")


@dataclass(frozen=True)
class PredictRequest:
    """Where to evaluate which run, and how to write it."""

    run: str
    outputs: Path
    grid: str | None
    points: Path | None
    derivatives: str
    format: str
    to: Path | None


def audit_command(run: str, outputs: Path, json: bool, fail_on: str) -> None:
    """Audit a finished run, save the audit in its folder and print it; refuse what `fail_on` names."""
    from pinnsolve.audit.gates import parse_gates, refused
    from pinnsolve.runs import RunFolder, recording
    from pinnsolve.solving import audited

    gates = parse_gates(fail_on)
    folder = RunFolder.open(recording.run_path(run, outputs))
    result = audited(recording.load_trained(folder))
    fault: ResourceError | None = None
    try:
        recording.renew_audit(folder, result)
    except ResourceError as error:  # a full disk, somebody else's folder: what was measured is shown all the same
        fault = error
    if json:
        say(json_text.dumps(result.metrics(), indent=1))
    else:
        _show_audit(result)
        _show_discretisation(folder.metrics() if folder.has_metrics else {})
    if fault is not None:
        raise fault
    stopped = refused(result.summary, gates)
    if stopped:
        raise RequirementError("--fail-on: " + "; ".join(stopped))


def _show_audit(result: DerivativeAudit) -> None:
    rows = [asdict(row) for row in result.summary]
    errors = ("step", "FD - AD", "predicted", "at step", "AD - exact", "FD - exact", "R", "kinked", "verdict")
    show_table(("derivative", "scheme", "dtype", *errors), [_error_row(row) for row in rows])
    say()
    evidence = ("order", "interval", "rho", "noise/u", "AD in dtype", "complex step", "evaluations")
    show_table(("derivative", "scheme", "dtype", *evidence), [_evidence_row(row) for row in rows])
    say()
    show_table(
        ("derivative", "method", "evaluations", "µs per point", "bytes per point"),
        [(c.term, c.method, f"{c.evaluations:.3g}", f"{c.microseconds:.3g}", f"{c.bytes:.3g}") for c in result.costs],
    )
    say()
    show_table(
        ("Richardson extrapolation", "largest step", "FD - AD", "estimated", "covered"),
        [
            (e.term, number(e.step, 1), number(e.fd_vs_ad, 1), number(e.estimated, 1), f"{e.covered:.0%}")
            for e in result.extrapolations
        ],
    )
    say()
    show_table(
        ("residual", "by AD", "by FD", "difference", "scheme", "relative step"),
        [
            (r.equation, number(r.automatic), number(r.differences), number(r.gap), r.scheme, number(r.step, 1))
            for r in result.residuals
        ],
    )
    gradient = result.loss_gradient
    if gradient is not None:
        order = "-" if gradient.taylor_order is None else f"{gradient.taylor_order:.2f}"
        say(
            f"loss gradient: Taylor remainder of order {order} at fixed points; misspecification index "
            f"{number(gradient.misspecification, 1)} over {gradient.points} points"
        )
    for sentence in result.sentences:
        say(sentence)


def _show_discretisation(metrics: dict[str, Any]) -> None:
    from pinnsolve.report import discretisation_table

    table = discretisation_table(metrics)
    if table.rows:
        say()
        show_table(table.columns, table.rows)


def _error_row(row: dict[str, Any]) -> tuple[object, ...]:
    keys = ("step", "fd_vs_ad", "predicted_error", "predicted_step", "ad_vs_exact", "fd_vs_exact", "decision")
    return (*_which(row), *(number(row[key], 1) for key in keys), f"{row['kink_fraction']:.0%}", row["verdict"])


def _evidence_row(row: dict[str, Any]) -> tuple[object, ...]:
    order, interval = "-", "-"
    if row["observed_order"] is not None:
        order, interval = f"{row['observed_order']:.2f}", f"{row['order_low']:.2f} to {row['order_high']:.2f}"
    rho = "-" if row["plateau"] is None else f"{row['plateau']:.2f}"
    noise = "-" if row["noise_ratio"] is None else f"{row['noise_ratio']:.2g}"
    routes = (number(row[key], 1) for key in ("ad_error", "independent_error"))
    return (*_which(row), order, interval, rho, noise, *routes, row["evaluations"])


def _which(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["term"], row["scheme"], row["dtype"]


def report_command(run: str, outputs: Path, animated: bool = False) -> None:
    """Draw the figures and the page of a run, or of a comparison, anew; and the solution in motion, if asked to."""
    from pinnsolve.report import build_comparison_report, build_report
    from pinnsolve.runs import ComparisonFolder, RunFolder, recording

    path = recording.run_path(run, outputs)
    is_comparison = ComparisonFolder.is_at(path)
    page = build_comparison_report(ComparisonFolder(path)) if is_comparison else build_report(RunFolder.open(path))
    say(f"report: {page}")
    if animated:
        from pinnsolve.report.animation import animate

        for film in animate(RunFolder.open(path)):
            say(f"animation: {film}")


def predict_command(request: PredictRequest) -> None:
    """Evaluate a run and write the values."""
    from pinnsolve.runs import RunFolder, recording

    if request.format not in FORMATS:
        raise InputError(f"unknown format {request.format!r}; known: {', '.join(FORMATS)}")
    if request.format != "csv" and request.to is None:
        raise InputError(f"{request.format} is no text: name a file with --to")
    if (request.grid is None) == (request.points is None):
        raise InputError("predict needs either --grid or --points")
    session = recording.load_trained(RunFolder.open(recording.run_path(request.run, request.outputs)))
    if session.gap:
        say(f"warning: {session.gap}", stderr=True)
    points = _asked_points(request, session.problem)
    values = _values(request, session, points)
    if request.format == "vtk":
        _write_vtk(points, values, request, session)
        return
    _write(dict(zip(session.problem.coordinate_names, points.T, strict=True)) | values, request)


def _asked_points(request: PredictRequest, problem: Problem) -> NDArray[np.float64]:
    """Return the points that are asked for; say how many of them lie where nothing was solved."""
    points = (
        grid_points(str(request.grid), problem)
        if request.points is None
        else file_points(request.points, problem.coordinate_names)
    )
    beyond = int(outside(points, problem).sum()) if request.points is not None else 0
    if beyond:
        what = "extrapolated" if problem.domain is None else "extrapolated or NaN"
        say(
            f"warning: {beyond} of {len(points)} points lie outside of the domain: values there are {what}", stderr=True
        )
    return points


def _values(request: PredictRequest, session: Session, points: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    import torch

    from pinnsolve.evaluation import EvaluationPoints, field_values

    where = EvaluationPoints(points, mask=session.problem.contains(points))
    found = field_values(session.ansatz, where.inside)
    values = {name: found[name] for name in session.problem.field_names}
    names = [name.strip() for name in request.derivatives.split(",") if name.strip()]
    partials = {name: session.problem.partial(name) for name in names}
    if partials:
        parameter = next(session.ansatz.parameters())
        tensor = torch.as_tensor(where.inside, dtype=parameter.dtype, device=parameter.device)
        with torch.no_grad():
            jet = session.differentiator(session.ansatz, tensor, list(partials.values()))
        values |= {name: jet[partial].double().cpu().numpy() for name, partial in partials.items()}
    return where.spread(values)


def _write_vtk(
    points: NDArray[np.float64], values: dict[str, NDArray[np.float64]], request: PredictRequest, session: Session
) -> None:
    from pinnsolve.runs.atomic import write_atomically
    from pinnsolve.runs.vtk import grid_vtk, points_vtk

    assert request.to is not None
    title = session.problem.title
    if request.grid is None:
        write_atomically(request.to, points_vtk(points, values, title))
    else:
        axes = [np.unique(column) for column in points.T]  # of a tensor grid: its own axes
        write_atomically(request.to, grid_vtk(axes, values, title))


def _write(columns: dict[str, NDArray[np.float64]], request: PredictRequest) -> None:
    from pinnsolve.runs.arrays import archive_bytes
    from pinnsolve.runs.atomic import write_atomically

    if request.format == "npz":
        assert request.to is not None
        write_atomically(request.to, archive_bytes(columns))
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    if request.to is None:
        say(text.getvalue().rstrip("\n"))
    else:
        write_atomically(request.to, text.getvalue().encode())

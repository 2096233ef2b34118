"""The result of a solve: callable, with everything that was measured on it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pinnsolve.audit import DerivativeAudit, audit
from pinnsolve.derivatives import Differentiator, exact
from pinnsolve.evaluation import (
    ClassicalCost,
    Discretisation,
    Drift,
    Evaluation,
    EvaluationPoints,
    FieldAccuracy,
    FormulationReport,
    classical_cost,
    compare_residuals,
    evaluate,
    field_values,
    health_sentences,
    measure_invariants,
    report_formulation,
)
from pinnsolve.networks import Ansatz
from pinnsolve.networks.piecewise import PiecewiseAnsatz, parts_of
from pinnsolve.problems import Problem
from pinnsolve.references import obstacle
from pinnsolve.solving.differentiation import steps_of
from pinnsolve.solving.progress import Progress
from pinnsolve.solving.session import Session
from pinnsolve.solving.settings import Settings
from pinnsolve.training import TrainingStep

CLASSICAL_SHARE = 0.25  # of the seconds of training, to find out what a classical solver takes
CLASSICAL_SECONDS = (1.0, 15.0)  # at least, at most


@dataclass(frozen=True)
class Solution:
    """A solved problem.

    Attributes:
        problem, settings: what was solved, and how.
        ansatz: the trained trial solution, a torch module; of one part per window where time was marched.
        differentiator: the maker of jets that training used.
        evaluation: accuracy and residuals.
        audit: the derivative audit; None if it was switched off.
        history: recorded steps.
        status: "finished", "diverged", "interrupted" or "failed".
        reason: why training ended.
        seconds, steps, residual_evaluations: what training took.
        warnings: sentences that a user must see.
        reference_seconds: what the classical reference took; None without one.
        collocation: interior points of the last step (in each window of time).
        gap: what is said of the time that training did not reach; empty if there is none.
        formulation: what was trained in place of the problem's equations; None if they were trained themselves.
        discretisation: what finite differences did not see in training; None if they did not train.
        classical: what a classical solver takes to the same error; None where there is none.
        invariants: how far the quantities that the problem conserves have moved.
    """

    problem: Problem
    settings: Settings
    ansatz: Ansatz | PiecewiseAnsatz
    differentiator: Differentiator
    evaluation: Evaluation
    audit: DerivativeAudit | None
    history: Sequence[Progress]
    status: str
    reason: str
    seconds: float
    steps: int
    residual_evaluations: int
    warnings: tuple[str, ...]
    reference_seconds: float | None
    collocation: NDArray[np.float64]
    gap: str = ""
    formulation: FormulationReport | None = None
    discretisation: Discretisation | None = None
    classical: ClassicalCost | None = None
    invariants: Mapping[str, Drift] = field(default_factory=dict)

    @property
    def fields(self) -> Mapping[str, FieldAccuracy]:
        """The accuracy of each field."""
        return self.evaluation.fields

    def __call__(self, points: Any) -> dict[str, NDArray[np.float64]]:
        """Return the value (N,) of every field at points (N, d), columns in the order of the coordinates.

        Values outside a domain that is no box are NaN.
        """
        array = self._checked(points)
        where = EvaluationPoints(array, mask=self.problem.contains(array))
        values = field_values(self.ansatz, where.inside)
        return where.spread({name: values[name] for name in self.problem.field_names})

    def derivatives(self, points: Any, name: str) -> NDArray[np.float64]:
        """Return a partial derivative (N,) such as "u_xx" at points (N, d)."""
        partial = self.problem.partial(name)
        parameter = next(self.ansatz.parameters())
        tensor = torch.as_tensor(self._checked(points), dtype=parameter.dtype, device=parameter.device)
        with torch.no_grad():
            jet = self.differentiator(self.ansatz, tensor, [partial])
        values: NDArray[np.float64] = jet[partial].double().cpu().numpy()
        return values

    @property
    def sentences(self) -> list[str]:
        """What a user must know, in words."""
        audited = list(self.audit.sentences) if self.audit is not None else []
        gap = [self.gap] if self.gap else []
        trained = [self.formulation.sentence] if self.formulation is not None else []
        trained += self.discretisation.sentences if self.discretisation is not None else []
        conserved = [drift.sentence(name) for name, drift in self.invariants.items()]
        classical = [self.classical.sentence(self.seconds)] if self.classical is not None else []
        measured = [*self._accuracy_sentences(), *self._health_sentences(), *conserved, *classical]
        return [*gap, *measured, *trained, *audited]

    def metrics(self) -> dict[str, Any]:
        """Return the record that metrics.json holds."""
        evaluation, problem = self.evaluation, self.problem
        return {
            "schema": 1,
            "status": self.status,
            "reason": self.reason,
            "problem": problem.name,
            "title": problem.title,
            "coordinates": {c.name: [c.lower, c.upper] for c in problem.coordinates},
            "time": problem.time,
            "equations": {equation.name: f"{equation.placed} = 0" for equation in problem.equations},
            "settings": self._settings(),
            "seconds": self.seconds,
            "steps": self.steps,
            "parameters": sum(parameter.numel() for parameter in self.ansatz.parameters()),
            "residual_evaluations": self.residual_evaluations,
            "fields": {name: asdict(accuracy) for name, accuracy in evaluation.fields.items()},
            "residuals": {name: asdict(norms) for name, norms in evaluation.residuals.items()},
            "conditions": {name: asdict(norms) for name, norms in evaluation.conditions.items()},
            "formulation": None if self.formulation is None else asdict(self.formulation),
            "discretisation": None if self.discretisation is None else self.discretisation.record,
            **(self.audit.metrics() if self.audit is not None else {"derivatives": [], "audit": None}),
            "unknowns": {},
            "classical": None if self.classical is None else self.classical.record,
            "invariants": {name: drift.record for name, drift in self.invariants.items()},
            "reference_seconds": self.reference_seconds,
            "summary": self.sentences,
            "warnings": list(self.warnings),
            "environment": environment(next(self.ansatz.parameters()).device),
        }

    def _settings(self) -> dict[str, Any]:
        """Return the settings with the activation that the solution uses in place of "auto"."""
        settings = self.settings.nested()
        names = dict.fromkeys(part.network.activation.name for part in parts_of(self.ansatz))
        settings["network"]["activation"] = ", ".join(names)
        return settings

    def _checked(self, points: Any) -> NDArray[np.float64]:
        array = np.asarray(points, dtype=np.float64)
        dimension = len(self.problem.coordinates)
        if array.ndim == 1 and dimension == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] != dimension:
            wanted = ", ".join(self.problem.coordinate_names)
            raise ValueError(f"points have the shape (N, {dimension}) with columns {wanted}; got {array.shape}")
        return array

    def _accuracy_sentences(self) -> list[str]:
        sentences = []
        sought = self.problem.reference.solver == "auto" and self.reference_seconds is None
        why = f" ({obstacle(self.problem)[0]})" if sought else ""
        for name, accuracy in self.fields.items():
            if accuracy.relative_l2 is None:
                sentences.append(f"{name}: there is no reference to compare with{why}; only the residuals are known.")
                continue
            sentences.append(
                f"{name}: relative L2 error {accuracy.relative_l2:.2e}, largest error {accuracy.max_error:.2e} "
                f"(reference: {accuracy.reference}, own error {accuracy.reference_error:.0e})"
            )
            if accuracy.reference_error is not None and accuracy.relative_l2 < accuracy.reference_error:
                sentences.append(
                    f"{name}: the reference cannot tell errors below its own: all that is known is an error of about "
                    f"{accuracy.reference_error:.0e} or less."
                )
        return sentences

    def _health_sentences(self) -> list[str]:
        step = self.kept_step()
        loss, held_out = (None, None) if step is None else (step.loss, step.held_out)
        return health_sentences(self.problem, self.evaluation, loss, held_out)

    def kept_step(self) -> TrainingStep | None:
        """Return the step whose network this solution is; of several windows of time the one that was solved worst.

        Steps of all of time at once have no number of a window, or 0 if a march was tried after them.
        """
        marched = isinstance(self.ansatz, PiecewiseAnsatz)
        best: dict[int | None, tuple[float, TrainingStep]] = {}
        for progress in self.history:
            held_out = progress.training.held_out
            if held_out is not None and bool(progress.window) == marched:
                known = best.get(progress.window)
                if known is None or held_out < known[0]:
                    best[progress.window] = held_out, progress.training
        return max(best.values(), key=lambda pair: pair[0])[1] if best else None


def finish(session: Session, status: str = "finished") -> Solution:
    """Return the solution of a trained session: evaluated against the reference, its derivatives audited."""
    problem, ansatz = session.problem, session.ansatz
    report = audited(session) if session.settings.audit.enabled else None
    rewritten = session.posed is not problem
    maker = session.differentiator
    steps = steps_of(maker)
    evaluation = evaluate(problem, ansatz, maker, session.reference)
    budget = min(max(CLASSICAL_SHARE * session.seconds, CLASSICAL_SECONDS[0]), CLASSICAL_SECONDS[1])
    return Solution(
        problem=problem,
        settings=session.settings,
        ansatz=ansatz,
        differentiator=maker,
        evaluation=evaluation,
        audit=report,
        history=tuple(session.history),
        status="interrupted" if session.gap and status == "finished" else status,
        reason=session.reason,
        seconds=session.seconds,
        steps=session.training.step,
        residual_evaluations=session.residual_evaluations,
        warnings=(*session.warnings, *([session.gap] if session.gap else [])),
        reference_seconds=session.reference.seconds if session.reference is not None else None,
        collocation=session.collocation,
        gap=session.gap,
        formulation=report_formulation(session.posed, ansatz, maker) if rewritten else None,
        discretisation=compare_residuals(session.posed, ansatz, maker, steps) if steps else None,
        classical=classical_cost(problem, session.reference, evaluation.error, budget),
        invariants=measure_invariants(problem, ansatz, maker),
    )


def audited(session: Session) -> DerivativeAudit:
    """Return the derivative audit of a session's solution, against the exact solution where all of it is known."""
    problem, ansatz = session.problem, session.ansatz
    known = set(problem.reference.exact) == set(problem.field_names)
    oracle = exact(problem.reference.exact, problem.symbols) if known else None
    units = max(sum(part.network.widths) for part in parts_of(ansatz))
    return audit(problem, ansatz, exact=oracle, trained=session.posed, points=session.settings.audit.count(units))


def environment(device: torch.device) -> dict[str, Any]:
    """Return versions and machine, as they stand in metrics.json."""
    packages = {name: _version(name) for name in ("pinnsolve", "torch", "numpy", "scipy", "sympy")}
    shown = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return packages | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": shown,
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

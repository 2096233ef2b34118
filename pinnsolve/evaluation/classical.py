"""What a classical solver takes to the network's accuracy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsolve.evaluation.accuracy import known_values
from pinnsolve.problems import Problem
from pinnsolve.problems.problem import Reference
from pinnsolve.references import COMPUTED, ReferenceSolution
from pinnsolve.references.reference import check_points, relative_differences

Values = Mapping[str, NDArray[np.float64]]
_NAMES = {
    "solve_ivp": "An adaptive Runge-Kutta method (solve_ivp)",
    "chebyshev": "A solver with Chebyshev elements in space and Radau steps in time",
    "fourier": "A Fourier solver (ETDRK4)",
    "method of lines": "Chebyshev collocation in space with Runge-Kutta steps in time",
    "collocation": "Chebyshev collocation",
    "finite elements": "A finite-element solver (quartic, graded mesh)",
    "evolving elements": "A finite-element solver in space (quartic) with Radau steps in time",
}


@dataclass(frozen=True)
class ClassicalCost:
    """The coarsest run of a classical solver that is as accurate as the network, or its finest within the budget.

    Attributes:
        solver: a name of `COMPUTED`.
        seconds: of this run alone, on this machine.
        relative_l2: its error against the reference.
        reached: whether it is as accurate as the network.
    """

    solver: str
    seconds: float
    relative_l2: float
    reached: bool

    def sentence(self, seconds: float) -> str:
        """Return the comparison with a run of so many seconds, in words."""
        name = _NAMES.get(self.solver, self.solver)
        if self.reached:
            return f"{name} reaches the same error in {self.seconds:.2g} s; this run took {seconds:.2g} s."
        return f"{name} came to an error of {self.relative_l2:.1e} in {self.seconds:.2g} s, not to that of this run."

    @property
    def record(self) -> dict[str, Any]:
        """The cost as it stands in metrics.json."""
        return asdict(self)


def classical_cost(
    problem: Problem, reference: ReferenceSolution | None, error: float | None, budget: float
) -> ClassicalCost | None:
    """Return what the first classical solver that applies takes to an error, resolution by resolution.

    Args:
        problem: of a form that one of `COMPUTED` solves, whatever its reference is.
        reference: what errors are measured against.
        error: the largest relative L2 error of the network's fields.
        budget: seconds of processor time for all resolutions together.

    Returns:
        None where there is no reference, no error, or no solver.
    """
    if reference is None or error is None or not np.isfinite(error):
        return None
    unsolved = replace(problem, reference=Reference(solver="auto"))
    deadline = time.process_time() + budget
    best: ClassicalCost | None = None
    for solver in COMPUTED:
        if solver.resolutions is None or not solver.applies(unsolved):
            continue
        points = check_points(problem)
        for attempt in solver.resolutions(unsolved, deadline):
            if attempt.chart is not None:
                missed = _error(problem, reference, points, attempt.chart(points))
                found = ClassicalCost(solver.name, attempt.seconds, missed, missed <= error)
                best = found if best is None or not missed >= best.relative_l2 else best
                if found.reached:
                    return found
            if time.process_time() > deadline:
                return best
    return best


def _error(problem: Problem, reference: ReferenceSolution, points: NDArray[np.float64], values: Values) -> float:
    """Return the largest relative error of a field that is known, up to a constant where only that is determined."""
    truth = known_values(problem, reference, points, values)
    return max(relative_differences(truth, {name: values[name] for name in truth}).values())

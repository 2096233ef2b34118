"""The reference of a problem, by whichever way there is to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pinnsolve.problems import Problem
from pinnsolve.references import (
    boxes,
    cache,
    chebyshev,
    evolving_elements,
    exact,
    finite_elements,
    fourier,
    method_of_lines,
    ode,
    tabulated,
)
from pinnsolve.references.reference import ReferenceSolution
from pinnsolve.references.refinement import Attempt, largest


@dataclass(frozen=True)
class ReferenceSolver:
    """One way to a reference.

    Attributes:
        name: as it stands in results.
        applies: whether it is a way for a problem.
        solve: the way itself.
        resolutions: its runs on a problem from coarse to fine, until a moment of `time.process_time`, each timed.
        last_resort: only where no other solver applies.
    """

    name: str
    applies: Callable[[Problem], bool]
    solve: Callable[..., ReferenceSolution]
    resolutions: Callable[[Problem, float], Iterable[Attempt]] | None = None
    last_resort: bool = False


GIVEN = (
    ReferenceSolver("file", tabulated.applies, tabulated.solve),
    ReferenceSolver("exact", exact.applies, exact.solve),
)

# In the order in which they are tried: elements are faster where they resolve the solution, Fourier series
# go further where rough or chaotic periodic solutions need many modes; collocation on the whole box at once takes
# what is no initial value problem.
COMPUTED = (
    ReferenceSolver("solve_ivp", ode.applies, ode.solve, ode.resolutions),
    ReferenceSolver("chebyshev", chebyshev.applies, chebyshev.solve, chebyshev.resolutions),
    ReferenceSolver("fourier", fourier.applies, fourier.solve, fourier.resolutions),
    ReferenceSolver("method of lines", method_of_lines.applies, method_of_lines.solve, method_of_lines.resolutions),
    ReferenceSolver("collocation", boxes.applies, boxes.solve, boxes.resolutions, last_resort=True),
    ReferenceSolver("finite elements", finite_elements.applies, finite_elements.solve, finite_elements.resolutions),
    ReferenceSolver(
        "evolving elements", evolving_elements.applies, evolving_elements.solve, evolving_elements.resolutions
    ),
)

GOOD_ENOUGH = 1e-9
SECONDS = 60.0
_SECONDS_OF_A_TRY = 15.0  # where another solver could follow


def find_reference(problem: Problem) -> ReferenceSolution | None:
    """Return the reference of a problem: its file, its exact solution, or a computed one; None without any.

    Computed references come from the cache where they are in it. Solvers are tried until one has an
    error below `GOOD_ENOUGH`; otherwise the best is returned with the error it has.

    Raises:
        ProblemError: the problem names a file that cannot be used.
    """
    known = known_reference(problem)
    return known if known is not None or problem.reference.solver == "none" else _computed(problem)


def known_reference(problem: Problem) -> ReferenceSolution | None:
    """Return the reference that takes no computing: from the file, the exact solution, or the cache; else None.

    Raises:
        ProblemError: the problem names a file that cannot be used.
    """
    for given in GIVEN:
        if given.applies(problem):
            return given.solve(problem)
    return None if problem.reference.solver == "none" else cache.load(problem)


def applicable(problem: Problem) -> list[ReferenceSolver]:
    """Return the solvers that can compute a problem's reference, in the order in which they are tried."""
    found = [solver for solver in COMPUTED if solver.applies(problem)]
    return [solver for solver in found if not solver.last_resort] or found


def _computed(problem: Problem) -> ReferenceSolution | None:
    best: ReferenceSolution | None = None
    candidates = applicable(problem)
    for solver in candidates:
        found = solver.solve(problem, budget=SECONDS if solver is candidates[-1] else _SECONDS_OF_A_TRY)
        if best is None or not largest(found.errors) >= largest(best.errors):
            best = found
        if largest(best.errors) <= GOOD_ENOUGH:
            break
    if best is None or not largest(best.errors) < 1.0:
        return None
    cache.save(problem, best)
    return best

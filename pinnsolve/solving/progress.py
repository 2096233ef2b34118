"""One recorded step of a solve, as whoever draws progress and writes the history sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pinnsolve.training import TrainingStep


@dataclass(frozen=True)
class Progress:
    """One recorded step: what training did, when, and how far the solution is from the reference.

    Attributes:
        training: the step.
        seconds: since training began.
        error: over the part of the domain that is solved so far; None without a reference.
        window: the window of time, from 1; None for a problem that is not marched.
        equations: names of the equations, which all windows share.
        evaluations: residuals evaluated at points so far.
    """

    training: TrainingStep
    seconds: float
    error: float | None
    window: int | None = None
    equations: tuple[str, ...] = ()
    evaluations: int = 0

    def row(self) -> dict[str, Any]:
        """Return the step as a row of history.csv."""
        step = self.training
        row: dict[str, Any] = {"step": step.step, "seconds": round(self.seconds, 4), "stage": step.stage}
        row |= {"loss": step.loss, "error": self.error}
        row |= self._terms() | {"damping": step.damping, "points": step.points, "held_out": step.held_out}
        return row | {"evaluations": self.evaluations}

    def _terms(self) -> dict[str, float | None]:
        """Return the shares of the loss; those of conditions together where soft ones vary from window to window."""
        terms = self.training.terms
        if self.window is None:
            return dict(terms)
        soft = sum(value for name, value in terms.items() if name not in self.equations)
        return {"window": self.window, **{name: terms[name] for name in self.equations}, "conditions": soft}

"""Signs that a solution is not what its loss suggests, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pinnsolve.evaluation.accuracy import Evaluation
from pinnsolve.problems import Problem
from pinnsolve.problems.lint_scales import field_sizes

LOW_LOSS = 0.1  # √loss below this share of the error makes a wrong answer look right
SOLVED = 1e-20  # held-out objective of a function that solves the problem: residuals of 1e-10 of their scale
WRONG = 0.02  # relative error from which an answer is called wrong
FLAT = 0.05  # spread, relative to the reference's, of a solution that is nearly constant
FLAT_ALONE = 1e-4  # spread, relative to the data, where there is no reference
UNSOLVED = 0.1  # residual, relative to the equation's largest term, from which an equation is called unsolved
_ROUNDOFF = 1e-14  # relative variation of a field that is constant
_APART = 100.0  # residual between the points over that at them, both squared


def health_sentences(problem: Problem, evaluation: Evaluation, loss: float | None, held_out: float | None) -> list[str]:
    """Return what is wrong with a solution, empty if nothing is seen to be.

    Args:
        problem: tells how large the data are.
        evaluation: errors, and values on the evaluation points.
        loss: of the step whose network the solution is.
        held_out: the objective after it, on points that training never saw.
    """
    sentences = [
        *trivial_sentences(problem, evaluation),
        *unsolved_sentences(evaluation),
        *hidden_sentences(evaluation),
    ]
    error = evaluation.error
    if error is not None and loss is not None and error > WRONG and loss**0.5 < LOW_LOSS * error:
        sentences.append(f"The loss is low ({loss:.1e}) but the answer is wrong by {error:.1%}: {_why(held_out)}")
    if loss is not None and held_out is not None:
        sentences += between_sentences(loss, held_out)
    return sentences


def between_sentences(loss: float, held_out: float) -> list[str]:
    """Return that the equations are satisfied at the collocation points alone; nothing of a run that diverged."""
    if not (loss**0.5 < UNSOLVED and held_out > _APART * loss and held_out**0.5 > WRONG):
        return []
    return [
        f"Between the collocation points the residual is {(held_out / loss) ** 0.5:.3g} times as large as at them: "
        "the network fits the points, not the equation. More points, or fresh ones more often, may help."
    ]


def _why(held_out: float | None) -> str:
    if held_out is not None and held_out < SOLVED:
        return (
            "this function satisfies equations and conditions to rounding, on points that training never saw, too. "
            "The problem has more than one solution, or a tiny residual allows a large error; another seed may find "
            "the one of the reference, and a condition more would tell them apart."
        )
    return (
        "the equations are nearly satisfied at the collocation points by another function. More points, a softer "
        "activation, hard constraints or another seed may help; do not trust this solution."
    )


def trivial_sentences(problem: Problem, evaluation: Evaluation) -> list[str]:
    """Return the fields that are nearly constant where the reference, or else their data, are not."""
    sizes = field_sizes(problem)
    sentences = []
    for name, values in evaluation.values.items():
        found, truth = _spread(values), evaluation.reference.get(name)
        if truth is not None:
            if (shape := shape_error(evaluation, name)) and shape > WRONG and found < FLAT * _spread(truth):
                sentences.append(
                    f"{name} is nearly constant (it varies by {found:.1e}), the reference varies by "
                    f"{_spread(truth):.1e}: training found a trivial solution of the equations."
                )
        elif found < FLAT_ALONE * sizes[name]:
            sentences.append(
                f"{name} varies by {found:.1e} only, its data by {sizes[name]:.1e}: this may be a trivial solution "
                "of the equations. Hard constraints or causal training keep the data alive."
            )
    return sentences


def hidden_sentences(evaluation: Evaluation) -> list[str]:
    """Return the fields whose error is a small part of their size and a large one of what they vary by."""
    sentences = []
    for name, accuracy in evaluation.fields.items():
        shape = shape_error(evaluation, name)
        if shape is not None and accuracy.relative_l2 is not None and shape > WRONG >= accuracy.relative_l2:
            sentences.append(
                f"The error of {name} is small against its size ({accuracy.relative_l2:.1e}) but {shape:.1%} of what "
                "it varies by: a large mean hides that the shape is wrong. Subtract the mean in the problem file, or "
                "judge the solution by this number."
            )
    return sentences


def shape_error(evaluation: Evaluation, name: str) -> float | None:
    """Return ‖u - u*‖₂ / ‖u* - mean u*‖₂ of a field, which no constant in u* makes small.

    None without a reference, and where u* varies by no more than its own error.
    """
    truth, known = evaluation.reference.get(name), evaluation.fields[name].reference_error
    if truth is None:
        return None
    inside = np.isfinite(truth)
    values, truth = evaluation.values[name][inside], truth[inside]
    spread, size = _spread(truth), float(np.sqrt(np.mean(truth**2))) if len(truth) else 0.0
    if not spread > np.fmax(known or 0.0, _ROUNDOFF) * size:
        return None
    return float(np.sqrt(np.mean((values - truth) ** 2))) / spread


def unsolved_sentences(evaluation: Evaluation) -> list[str]:
    """Return the equations whose residual is as large as their terms, where no reference tells the error.

    The loss is scaled by the sizes that terms may have, and can be small when they turn out to be smaller still.
    """
    if evaluation.error is not None:
        return []
    return [
        f"The residual of {name} is {evaluation.residuals[name].rms / size:.0%} of the equation's largest term, "
        "whatever the loss says: this is no solution. More time, windows of time or a scaled form may help."
        for name, size in evaluation.largest_terms.items()
        if evaluation.residuals[name].rms > UNSOLVED * size
    ]


def _spread(values: NDArray[np.float64]) -> float:
    """Return the standard deviation over the points where there is a value."""
    inside = values[np.isfinite(values)]
    return float(np.std(inside)) if len(inside) else 0.0

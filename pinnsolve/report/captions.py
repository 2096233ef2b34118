"""What the report says below each figure, and what a reader hears who cannot see it."""

from __future__ import annotations

_AUDIT = {
    "v_curves": (
        "Relative error of finite differences against autodiff over the step h. Solid: float64. Dashed: float32. Thin "
        "black: predicted from truncation and rounding. Marker: best step. Grey: error of autodiff itself in that "
        "precision. Dash-dotted: error of the network itself."
    ),
    "error_budget": (
        "What the error of each derivative is made of, for central2 at its best step, relative to the derivative: the "
        "network's own error, truncation and rounding of the finite difference, and the stencils that lie across a "
        "kink of the activation, where it has any. The largest decides what to improve."
    ),
    "cost": (
        "Relative error against time per point, float64, each way of differentiating at its best step. Dash-dotted: "
        "error of the network itself; accuracy below it gains nothing."
    ),
    "leading_ratio": (
        "Share of the finite difference's error that its leading term explains, where truncation exceeds rounding. In "
        "the grey band the law holds and an order may be read off; it leaves it where steps are large."
    ),
    "difference_map": (
        "Where central2 at a step of about 1 % of the interval differs from autodiff, relative to the derivative, "
        "float64. Grey: kinks of the activation, where it has any."
    ),
    "difference_distribution": (
        "How many points of the audit differ by how much, for the same step: those whose stencils lie across a kink of "
        "the activation, if there are any, and the others."
    ),
}
AUDIT_FIGURES = frozenset(_AUDIT)
_COLLOCATION = "collocation points of the last step, a part of them where there are many."
_RESIDUAL = {
    1: f"Absolute residual of each equation. Ticks at the bottom: {_COLLOCATION}",
    2: f"Absolute residual of each equation, its largest thousandth in one colour. White points: {_COLLOCATION}",
}
_MANY_RESIDUALS = "How many evaluation points have how large a residual, for each equation."
_HISTORY = (
    "Loss and relative L2 error during training, over time and over steps. Shading: stages. Dotted, where it fits in: "
    "error of the reference."
)
_ALTERNATIVES = {
    "residual": "Plot of the residuals",
    "history": "Plot of loss and error during training",
    "v_curves": "V-curves of finite differences, one panel for each derivative",
    "error_budget": "Plot of each derivative's errors by source",
    "cost": "Plot of error against time per point, one panel for each derivative",
    "leading_ratio": "Plot of the leading term's share over the step, one panel for each derivative",
    "difference_map": "Plot of the places where finite differences err, one panel for each derivative",
    "difference_distribution": "Histograms of finite differences' errors, one panel for each derivative",
}


def caption(name: str, dimension: int, *, referenced: bool, time: bool) -> str:
    """Return what stands below a figure.

    Args:
        name: of the figure's file, solution_<field> for a solution.
        dimension: number of coordinates.
        referenced: whether there is a reference to compare with.
        time: whether one of the coordinates is time.
    """
    if name == "residual":
        return _RESIDUAL.get(dimension, _MANY_RESIDUALS)
    if name == "history":
        return _HISTORY
    return _AUDIT.get(name) or _solution(name.removeprefix("solution_"), dimension, referenced, time)


def alternative(name: str) -> str:
    """Return the short text in place of a figure; its caption says the rest."""
    return _ALTERNATIVES.get(name) or f"Plot of the solution {name.removeprefix('solution_')}"


def _solution(field: str, dimension: int, referenced: bool, time: bool) -> str:
    if dimension == 1:
        return (
            f"Solution {field}: network and reference, and the absolute error." if referenced else f"Solution {field}."
        )
    if dimension == 2:
        where = "at three times" if time else "along three lines"
        shown = "network, reference, absolute error," if referenced else "network,"
        return f"Solution {field}: {shown} and profiles {where}{' (grey: reference)' if referenced else ''}."
    if referenced:
        return f"Solution {field}: the network against the reference, and how many points err by how much."
    return f"Solution {field}: how many points have which value."

"""What the report says below each figure."""

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
        "kink of the activation. The largest decides what to improve."
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
        "float64. Grey: kinks of the activation."
    ),
    "difference_distribution": (
        "How many points of the audit differ by how much, for the same step: those whose stencils lie across a kink of "
        "the activation, and the others."
    ),
}
AUDIT_FIGURES = frozenset(_AUDIT)
CAPTIONS = {
    "residual": (
        "Absolute residual of each equation. White points: collocation points of the last step, a part of them where "
        "there are many."
    ),
    "history": "Loss and relative L2 error during training. Shading: stages.",
    **_AUDIT,
}

"""Which activations may be trained on which equations."""

from __future__ import annotations

from pinnsolve.errors import SettingsError
from pinnsolve.networks.activations import Activation
from pinnsolve.problems import Problem


def smoothness_note(problem: Problem, activation: Activation, *, allow_rough: bool = False) -> str:
    """Return a warning where autodiff misses a part of the loss gradient, empty where it is exact.

    Raises:
        SettingsError: the residual itself would be wrong, and `allow_rough` is false.
    """
    order = problem.order
    if order > activation.exact_residual_order and not allow_rough:
        raise SettingsError(
            f"{activation.name} is C{activation.smoothness:.0f}: its derivatives of order {order}, which "
            f"{problem.name!r} needs, are zero or missing almost everywhere, so the residual is wrong; "
            "use tanh, gelu or sine, or elu/celu with alpha = 1 up to order 2, or formulation = first-order, "
            "which needs derivatives of order 1 only (--allow-rough overrides)"
        )
    if order > activation.exact_gradient_order:
        return (
            f"{activation.name} has jumps in its derivative of order {activation.smoothness + 1:.0f}: on an equation "
            f"of order {order} automatic differentiation misses the part of the loss gradient that moves these "
            "kinks, and training may stall far from the solution; tanh, gelu and sine have no kinks, and "
            "--formulation first-order asks for first derivatives only"
        )
    return ""

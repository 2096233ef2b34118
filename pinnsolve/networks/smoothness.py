r"""Which activations may be trained on which equations.

For φ in C^m the derivative φ^(m+1) jumps at the kink of every unit, and φ^(m+2) has an impulse there that
automatic differentiation does not see. A residual of order k reads φ^(k), and the gradient of its square
φ^(k+1): the residual is right up to k = m + 1, its gradient up to k = m only. Where a loss has such a kink at x_0,
its derivative by a parameter b has a term -[r²] dx_0/db, for the kink moves with b; this is what is missed.
"""

from __future__ import annotations

from pinnsolve.errors import SettingsError
from pinnsolve.networks.activations import Activation
from pinnsolve.problems import Problem

_EXAMPLE = "for one ELU unit on u'' = 1 the true slope of the loss by the bias is -0.913, and it computes +3.087"


def smoothness_note(problem: Problem, activation: Activation, *, allow_rough: bool = False) -> str:
    """Return a warning where autodiff misses a part of the loss gradient or the residual, empty where both are exact.

    Raises:
        SettingsError: the residual itself would be wrong, and `allow_rough` is false.
    """
    order = _order(problem)
    name, jumping = activation.name, activation.smoothness + 1
    if order > activation.exact_residual_order:
        fault = (
            f"{name} is C{activation.smoothness:.0f}: its derivative of order {jumping:.0f} jumps, so those of order "
            f"{order}, which {problem.name!r} needs, lack an impulse at every kink, and the residual is wrong"
        )
        if not allow_rough:
            raise SettingsError(f"{fault}; use {_remedies(order)} (--allow-rough overrides)")
        return f"{fault}; trained all the same, as --allow-rough asks"
    if order > activation.exact_gradient_order:
        return (
            f"{name} has jumps in its derivative of order {jumping:.0f}: on an equation of order {order} automatic "
            "differentiation misses the part of the loss gradient that moves these kinks, and training may stall far "
            f"from the solution ({_EXAMPLE}); use {_remedies(order)}"
        )
    return ""


def _order(problem: Problem) -> int:
    """Return the highest order of a derivative in an equation or a condition."""
    conditions = (partial.order for condition in problem.conditions for partial in condition.residual.partials)
    return max(problem.order, *conditions, 0)


def _remedies(order: int) -> str:
    """Return what to do instead on equations of this order."""
    if order <= 1:
        return "tanh, gelu or sine, which have no kinks, or celu or elu with alpha = 1, which are C1"
    return (
        "tanh, gelu or sine, which have no kinks, or --formulation first-order, which asks for first derivatives only "
        "and serves celu and elu with alpha = 1"
    )

"""Verdicts: what limits a derivative, in words that a user can act on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pinnsolve.audit.curve import VCurve
from pinnsolve.audit.records import LossGradientAudit, rms
from pinnsolve.problems import Partial

VERDICTS = {
    "ok": "",
    "not finite": "the derivative is not finite at some points",
    "smoothness violation": "the activation is too rough for this order, its jumps are missing from the derivative; "
    "use tanh, sine or gelu",
    "derivative mismatch": "ways of differentiating disagree by far more than their errors: one derivative is wrong, "
    "do not trust this solution",
    "precision-limited": "large terms cancel in the network's sums: in this precision rounding spoils the derivative, "
    "however it is taken; use a higher precision or smaller weights",
    "kink-limited": "steps at which finite differences would be accurate reach across kinks of the activation; "
    "use automatic differentiation, or tanh, sine or gelu",
    "rounding-limited": "finite differences at their best step add more error than the network; "
    "use automatic differentiation",
    "network-limited": "the network's own derivative is far from exact, however it is taken; train longer",
}
UNEXPLAINED = 100.0  # the least median error is this much larger than the law allows
MISMATCH = 10.0  # finite differences agree among themselves this much better than with automatic differentiation
KINK = 3.0  # the best error is this much larger than that of the points without kinks
DOMINANT = 1.0  # R = e_FD / e_net above which finite differences dominate the error
COARSE = 1e-2  # the relative error that they may have where the exact solution is not known
MISSED = 1e-2  # the part of the loss gradient that automatic differentiation may miss before it is told
FLAT = 1.5  # the order of the Taylor test, 2 for a right gradient and 1 for a wrong one, below which it is told
CANCELLED = 2.0**-26.5  # √u in double precision: the rounding above which less than half of the digits are left
FAR = 0.1  # the relative error of the network's derivative that no way of differentiating repairs


def verdicts(curves: Sequence[VCurve], smoothness: float) -> list[str]:
    """Return one verdict per V-curve.

    A mismatch concerns the scheme alone if most schemes agree with automatic differentiation; else
    automatic differentiation is at fault, and no row of that derivative passes.
    """
    suspects = [_mismatched(curve) or _unexplained(curve) for curve in curves]
    groups = Counter((curve.baseline.partial, curve.dtype) for curve in curves)
    found = Counter((curve.baseline.partial, curve.dtype) for curve, bad in zip(curves, suspects, strict=True) if bad)
    wrong = {key[0] for key, count in found.items() if 2 * count > groups[key]}
    wrong |= {curve.baseline.partial for curve in curves if not curve.baseline.reproducible}
    return [
        _verdict(curve, smoothness, bad or curve.baseline.partial in wrong)
        for curve, bad in zip(curves, suspects, strict=True)
    ]


def rounding_sentence(curves: Sequence[VCurve], names: Mapping[Partial, str]) -> str:
    """Return how many digits rounding leaves of the derivatives in double precision, if less than half; else nothing.

    κ u / rms(D f) is what large terms that cancel make of one rounding; no way of differentiating escapes it.
    """
    known = {curve.baseline.partial: curve.baseline for curve in curves if curve.dtype == "float64"}
    left = {names[partial]: found.rounding / found.scale for partial, found in known.items()}
    told = [f"{-math.log10(share):.0f} in {name}" for name, share in left.items() if share > CANCELLED]
    if not told:
        return ""
    return f"rounding: large terms cancel in the network's sums; of the 16 digits of float64 are left {', '.join(told)}"


def gradient_sentence(gradient: LossGradientAudit | None, has_moving_kinks: bool, order: int = 2) -> str:
    """Return a warning if automatic differentiation does not give the gradient of the loss; empty if it does.

    Args:
        gradient: the tests of the gradient; None where there are no parameters.
        has_moving_kinks: whether the equations read a derivative of the activation that jumps. Then the Taylor test
            is of first order for a right gradient, too, since kinks cross the points; else all that the index shows
            is the error of its own central difference.
        order: of the equations: those of first order have no formulation of lower order.
    """
    if gradient is None:
        return ""
    if has_moving_kinks and (gradient.misspecification or 0.0) > MISSED:
        return (
            f"loss gradient: automatic differentiation misses {gradient.misspecification:.0%} of it, the part of the "
            f"moving kinks; use tanh, sine or gelu{', or --formulation first-order' if order > 1 else ''}"
        )
    if not has_moving_kinks and gradient.taylor_order is not None and gradient.taylor_order < FLAT:
        return (
            f"loss gradient: the Taylor test is of order {gradient.taylor_order:.2f}, not 2: this is not the gradient "
            "of the loss, do not trust this training"
        )
    return ""


def _verdict(curve: VCurve, smoothness: float, mismatched: bool) -> str:
    """Return the first verdict that applies."""
    baseline = curve.baseline
    if not np.isfinite(curve.errors).any():  # so, too, where a value of automatic differentiation is not
        return "not finite"
    if baseline.partial.order > smoothness + 1:
        return "smoothness violation"
    if mismatched:
        return "derivative mismatch"
    network = _network_error(curve)
    if baseline.rounding > max(COARSE * baseline.scale, network or 0.0):
        return "precision-limited"
    if _kink_limited(curve):
        return "kink-limited"
    if baseline.vanishes:
        return "ok"
    error = float(curve.errors[curve.best])
    if error > (COARSE * baseline.scale if network is None else DOMINANT * network):
        return "rounding-limited"
    return "network-limited" if network is not None and network > FAR * baseline.scale else "ok"


def _mismatched(curve: VCurve) -> bool:
    """Return whether finite differences agree among themselves and not with automatic differentiation.

    δ = rms(D_h f - D_h' f) for neighbouring steps h < h' estimates the error of finite differences from
    themselves alone: with steps 4/3 or more apart the error is at most 4 δ for a scheme of first order.
    It is read where δ / rms(D_h' f) is least; δ itself is small, too, where h is so large that D_h f is.
    """
    if len(curve.steps) < 2:
        return False
    changes = rms(np.diff(curve.values, axis=0))
    with np.errstate(all="ignore"):
        relative = np.nan_to_num(changes / rms(curve.values[1:]), nan=np.inf)  # 0/0: nothing to compare
    steadiest = int(np.argmin(relative))
    if not np.isfinite(relative[steadiest]):
        return False
    error = float(min(curve.errors[steadiest : steadiest + 2]))
    own = float(changes[steadiest]) + float(min(rms(curve.rounding[steadiest : steadiest + 2])))
    return error > MISMATCH * max(own, curve.baseline.floor, curve.baseline.rounding)


def _unexplained(curve: VCurve) -> bool:
    """Return whether finite differences are far worse than truncation and rounding can make them.

    A wrong stencil need not agree even with itself. Medians over the points, since a kink that is not
    the activation's (of a boundary function, say) spoils a few points; with kinked activations nothing is concluded.
    """
    if curve.truncation is None or curve.kinked.any():
        return False
    allowed = np.median(np.abs(curve.truncation) + curve.rounding, axis=1)
    least = np.median(np.abs(curve.differences), axis=1).min()
    return bool(least > max(UNEXPLAINED * allowed.min(), MISMATCH * curve.baseline.rounding))


def _kink_limited(curve: VCurve) -> bool:
    """Return whether kinks keep the best error above that of the clean points, or above the law.

    The second where so many points are kinked that the clean ones tell little: then the kinked ones
    must carry most of the squared error.
    """
    if not curve.kinked.any():
        return False
    error, (_, predicted) = curve.errors[curve.best], curve.predicted
    if np.isfinite(curve.clean_errors).any() and error > KINK * np.nanmin(curve.clean_errors):
        return True
    squares = np.square(curve.differences[curve.best])
    carried = squares[curve.kinked[curve.best]].sum() > 0.5 * squares.sum()
    return bool(carried and predicted is not None and error > KINK * predicted)


def _network_error(curve: VCurve) -> float | None:
    """Return the RMS of e_net = exact - automatic differentiation, None if it is not known."""
    exact = curve.baseline.exact
    if exact is None or not np.isfinite(exact).all():
        return None
    return float(rms(exact - curve.baseline.values))

"""Which stages a run goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Generator

from pinnsolve.derivatives.compiled import compiled
from pinnsolve.errors import SettingsError
from pinnsolve.networks import Ansatz
from pinnsolve.problems import Problem
from pinnsolve.training.features import RandomFeatureStage
from pinnsolve.training.first_order import FirstOrder, soap_class
from pinnsolve.training.levenberg_marquardt import LevenbergMarquardt
from pinnsolve.training.loop import Stage
from pinnsolve.training.objective import Objective
from pinnsolve.training.optimizers import Optimizer
from pinnsolve.training.quasi_newton import SelfScaledBroyden
from pinnsolve.training.settings import TrainingSettings
from pinnsolve.training.sketched import SketchedGaussNewton
from pinnsolve.training.stages import CyclingStage, GradientStage, WideningStage
from pinnsolve.training.window_features import FeatureChoice, WindowFeatureStage

# A step of lm takes 4/3 P³ operations (JᵀJ of P residuals, a Cholesky factorisation), one of sketched as many as some
# gradients. Burgers after 45 s on one core: equal at P = 921; lm 3e-1 and sketched 9e-5 at P = 3,297. Steps cost the
# same near 1,500. The limit on GPUs is not measured: it is what 300 times the operations a second would allow.
LM_PARAMETERS = {"cpu": 1_500, "cuda": 10_000}
SKETCHED_PARAMETERS = 100_000  # measured up to here
DENSE_PARAMETERS = 20_000  # of ssbroyden: its matrix takes 3.2 GB
COMPILED = ("adam", "lbfgs", "soap", "ssbroyden")  # those that evaluate one loss and its gradient, step after step
_NEEDS_EXACT = "float64 and derivatives = taylor, fd or coupled"
# the fewest and the most features in a window, by the number of space coordinates; where there are none, 60 to 150 of
# them with scales of 2 to 6 need about as many windows, so that nothing is looked for
WINDOW_WIDTHS = {0: (80, 80), 1: (400, 1600)}
OTHER_WIDTHS = (400, 3200)
FEATURE_SHARE = 0.5  # of the budget, for random features before anything is trained
PROBE_SHARE = 0.1  # likewise, for nonlinear problems, which most often need trained ones


@dataclass(frozen=True)
class WindowFeatures:
    """What a window of adaptive length begins with.

    Attributes:
        choice: the features that served the window before; None to look for them.
        space: number of space coordinates: the more there are, the more features a window needs.
        pace: seconds that a solve may take if the windows to come are to be solved in time, too.
        accepted: the held-out objective that was left in the window before; 0 in the first one.
        magnitudes: the largest |u| of each field in the windows before.
    """

    choice: FeatureChoice | None
    space: int
    pace: float
    accepted: float
    magnitudes: Mapping[str, float]

    @property
    def widths(self) -> tuple[int, int]:
        """The fewest and the most features that are tried."""
        return WINDOW_WIDTHS.get(self.space, OTHER_WIDTHS)


def make_plan(
    problem: Problem,
    ansatz: Ansatz,
    objective: Objective,
    settings: TrainingSettings,
    *,
    feature_activations: Sequence[str],
    double: bool,
    seed: int = 0,
    window: WindowFeatures | None = None,
) -> tuple[list[Stage], str]:
    """Return the stages that the settings name, and a sentence that says why.

    Args:
        problem: tells whether the residuals are linear.
        ansatz: what is trained.
        objective: the residuals.
        settings: name the optimizer; "auto" chooses.
        feature_activations: those that random features may use.
        double: whether training runs in float64, without which least squares gain nothing.
        seed: of the optimizer's random choices.
        window: features to begin with, in a window of time whose length adapts; None elsewhere.

    Raises:
        SettingsError: the optimizer cannot work with this network, these derivatives, or this precision.
        ResourceError: the optimizer's package is not installed.
    """
    linear = all(residual.is_linear for block in objective.blocks for residual in block.residuals)
    size = sum(parameter.numel() for parameter in ansatz.parameters())
    layerwise = objective.layerwise
    exact = layerwise and double

    def gradient(name: str) -> GradientStage:
        if settings.compiled and name not in COMPILED:
            raise SettingsError(f"training.compiled serves the optimizers {', '.join(COMPILED)}; this run takes {name}")
        return GradientStage(lambda: _optimizer(name, objective, ansatz, settings, seed), name=name)

    inputs = ansatz.features

    def features(until: float, *, persists: bool = True) -> RandomFeatureStage:
        return RandomFeatureStage(list(feature_activations), inputs.groups, inputs.sites, linear, until, persists)

    name: str = settings.optimizer
    if name != "auto":
        _refuse_impossible(name, size, layerwise, double)
        if name == "least-squares":
            return [features(1.0)], "random features and least squares, as asked for"
        return [gradient(name)], f"{name}, as asked for"
    name, why = _chosen(size, layerwise, double, next(ansatz.parameters()).device)
    if not exact or name not in ("lm", "sketched"):
        return [gradient(name)], why
    cycle = CyclingStage(gradient(name), WideningStage(), name=name)
    if window is not None:
        stage = WindowFeatureStage(
            list(feature_activations),
            inputs.groups,
            window.widths,
            window.pace,
            window.choice,
            window.accepted,
            window.magnitudes,
        )
        return [stage, cycle], f"random features in windows as long as these solve them; where they do not, {why}"
    if linear:
        return [features(FEATURE_SHARE), cycle], f"random features first (the problem is linear), then {why}"
    return [features(PROBE_SHARE, persists=False), cycle], f"random features where few of them serve; if not, {why}"


def _chosen(size: int, layerwise: bool, double: bool, device: torch.device) -> tuple[str, str]:
    """Return the optimizer for so many parameters, and why.

    Args:
        size: P.
        layerwise: whether Jacobians take one backward pass.
        double: whether training runs in float64.
        device: where training runs.
    """
    if size <= LM_PARAMETERS[device.type]:
        if not (layerwise and double):
            return "lm", "lm alone: least squares need float64 and layerwise Jacobians"
        return "lm", f"lm on {size} parameters and widening of the last layer, in turn"
    too_many = f"{size} parameters are too many for lm, 4/3 P³ = {4 / 3 * size**3:.0e} operations a step"
    if layerwise and size <= SKETCHED_PARAMETERS:
        if not double:
            return "sketched", f"sketched Gauss-Newton steps alone, since least squares need float64: {too_many}"
        return "sketched", f"sketched Gauss-Newton steps and widening of the last layer, in turn: {too_many}"
    limit = (
        f"are for at most {SKETCHED_PARAMETERS} parameters" if layerwise else "need derivatives = taylor, fd or coupled"
    )
    cause = f"sketched steps {limit}"
    name = "soap" if find_spec("pytorch_optimizer") else "adam"
    return name, f"{name}: {too_many}; {cause}"


def _refuse_impossible(name: str, size: int, layerwise: bool, double: bool) -> None:
    """Refuse an optimizer that was asked for and cannot work."""
    if name == "least-squares" and not (layerwise and double):
        raise SettingsError(f"optimizer least-squares needs {_NEEDS_EXACT}")
    if name == "sketched" and not layerwise:
        raise SettingsError(
            "optimizer sketched needs derivatives = taylor, fd or coupled, got autograd; soap takes any"
        )
    if name == "ssbroyden" and not double:
        raise SettingsError(
            "optimizer ssbroyden needs precision = float64: its line search compares nearly equal losses"
        )
    if name == "ssbroyden" and size > DENSE_PARAMETERS:
        raise SettingsError(
            f"optimizer ssbroyden keeps a matrix of {size} × {size} numbers, {8e-9 * size**2:.1f} GB; "
            f"at most {DENSE_PARAMETERS} parameters, sketched and lbfgs take more"
        )
    if name == "soap":
        soap_class()


def _optimizer(name: str, objective: Objective, ansatz: Ansatz, settings: TrainingSettings, seed: int) -> Optimizer:
    capture = compiled if settings.compiled else None
    makers: dict[str, Callable[[], Optimizer]] = {
        "lm": lambda: LevenbergMarquardt(objective, ansatz),
        "sketched": lambda: SketchedGaussNewton(objective, ansatz, Generator().manual_seed(seed)),
        "ssbroyden": lambda: SelfScaledBroyden(objective, ansatz, capture=capture),
    }
    return makers.get(name, lambda: FirstOrder(name, objective, ansatz, settings.learning_rate, capture=capture))()

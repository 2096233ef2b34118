"""Settings of training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MOST_WINDOWS = 1000
CONDITION_WEIGHT = 100.0  # errors of conditions are errors of the solution; residuals are larger by derivatives


def _checked_windows(value: Any) -> Any:
    if value not in ("auto", "adaptive") and not (type(value) is int and 1 <= value <= MOST_WINDOWS):
        raise ValueError(f'windows are a whole number from 1 to {MOST_WINDOWS}, "adaptive" or "auto"')
    return value


class TrainingSettings(BaseModel):
    """How a network is trained.

    Attributes:
        optimizer: "lm" (Levenberg-Marquardt), "sketched" (Gauss-Newton in random subspaces), "ssbroyden"
            (self-scaled Broyden), "soap", "adam", "lbfgs", "least-squares" (on random features), or "auto":
            least squares on random or trained features with lm or sketched between, as `make_plan` chooses.
        steps: the largest number of steps; None for as many as the time limit allows.
        points: collocation points in the interior; None for 1,024 in one dimension and 4,096 beyond.
        resample: draw fresh points every so many steps; None for what suits the optimizer.
        adaptive: share of points drawn in proportion to |residual|.
        importance: correct the loss for residual-weighted points, so that it is a mean over the domain again;
            "auto" for adam and soap, whose steps follow that mean.
        balance: weight of a soft condition's mean square against an equation's, both scaled to 1; or
            "gradient-norm", "ntk": weights that make their gradients' norms, or the traces of their tangent
            kernels, equal; "auto" is "ntk".
        causal: how much later times wait for earlier ones, w = exp(-causal · share of the residual before t);
            "auto" is 1 for nonlinear problems in space and time, else 0.
        learning_rate: of Adam and SOAP; None for 1e-3 of Adam, 3e-3 of SOAP.
        compiled: fuse the loss and its gradient into a few kernels by torch.compile, for first-order and quasi-Newton
            optimizers; needs a C++ compiler (or CUDA), takes half a minute, and pays from thousands of steps on.
        windows: equal windows of time that are solved one after the other, each from the end of the one before;
            "adaptive": as long as random features solve them; "auto": adaptive for ordinary differential equations,
            else all of time at once, and adaptive windows if that makes no headway.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: Literal["auto", "lm", "sketched", "ssbroyden", "soap", "adam", "lbfgs", "least-squares"] = "auto"
    steps: Annotated[int, Field(ge=0, le=10**9)] | None = None
    points: Annotated[int, Field(ge=1, le=10**7)] | None = None
    resample: Annotated[int, Field(ge=1)] | None = None
    adaptive: Annotated[float, Field(ge=0, le=1)] = 0.5
    importance: bool | Literal["auto"] = "auto"
    balance: Annotated[float, Field(gt=0)] | Literal["auto", "gradient-norm", "ntk"] = "auto"
    causal: Annotated[float, Field(ge=0, le=1e3)] | Literal["auto"] = "auto"
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    compiled: bool = False
    windows: Annotated[int | Literal["auto", "adaptive"], BeforeValidator(_checked_windows)] = "auto"

    @property
    def window_count(self) -> int:
        """The number of equal windows of time that are asked for."""
        return self.windows if isinstance(self.windows, int) else 1

    @property
    def condition_weight(self) -> float:
        """The fixed weight of a soft condition's mean square, in the held-out objective and in least squares."""
        return CONDITION_WEIGHT if isinstance(self.balance, str) else self.balance

    @property
    def balance_measure(self) -> Literal["gradient-norm", "ntk"] | None:
        """What balanced weights make equal; None for a fixed weight."""
        if self.balance == "auto":
            return "ntk"
        return self.balance if isinstance(self.balance, str) else None

    @property
    def corrected_share(self) -> float:
        """The share of residual-weighted points that the loss is corrected for."""
        wanted = self.optimizer in ("adam", "soap") if self.importance == "auto" else self.importance
        return self.adaptive if wanted else 0.0

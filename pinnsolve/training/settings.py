"""Settings of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """How a network is trained.

    Attributes:
        optimizer: "lm" (Levenberg-Marquardt), "adam", "lbfgs", "least-squares" (on random features), or
            "auto": least squares on random or trained features with lm between, as `make_plan` chooses.
        steps: the largest number of steps; None for as many as the time limit allows.
        points: collocation points in the interior; None for 1,024 in one dimension and 4,096 beyond.
        resample: draw fresh points every so many steps; None for what suits the optimizer.
        adaptive: share of points drawn in proportion to |residual|.
        balance: weight of a soft condition's mean square against an equation's, both scaled to 1.
        learning_rate: of Adam.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: Literal["auto", "lm", "adam", "lbfgs", "least-squares"] = "auto"
    steps: Annotated[int, Field(ge=0, le=10**9)] | None = None
    points: Annotated[int, Field(ge=1, le=10**7)] | None = None
    resample: Annotated[int, Field(ge=1)] | None = None
    adaptive: Annotated[float, Field(ge=0, le=1)] = 0.5
    balance: Annotated[float, Field(gt=0)] = 100.0
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3

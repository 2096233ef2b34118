"""How DeepXDE trains: as its documentation does, and the best way that is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Points and optimizers of DeepXDE.

    Attributes:
        points, boundary_points, initial_points: a fixed set, the last two for conditions that are not built in.
        distribution: of the points, a name of DeepXDE's.
        builds_in: whether conditions are built in by an output transform where they can be.
        scales_inputs: whether the network sees coordinates scaled to [-1, 1], and gives outputs of order 1.
        condition_weight: of the loss of a condition.
        learning_rate, adam_steps: of Adam, before L-BFGS.
        gradient_tolerance: at which L-BFGS ends.
        lbfgs_steps: at most; None for no limit.
        restarts: whether L-BFGS starts with a fresh memory when it stops by itself.
    """

    points: int
    boundary_points: int
    initial_points: int
    distribution: str
    builds_in: bool
    scales_inputs: bool
    condition_weight: float
    learning_rate: float
    adam_steps: int
    gradient_tolerance: float
    lbfgs_steps: int | None
    restarts: bool


RECIPES = {
    # "documented": the example Burgers.py of DeepXDE's documentation, with its default options of L-BFGS
    "documented": Recipe(2540, 80, 160, "Hammersley", False, False, 1.0, 1e-3, 15_000, 1e-8, 15_000, False),
    "best": Recipe(4096, 1024, 512, "Sobol", True, True, 100.0, 1e-3, 2_000, 0.0, None, True),
}

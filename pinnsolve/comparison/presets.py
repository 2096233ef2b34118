"""Comparisons that are ready to run: the founding claim, the engines, the optimizers; a quarter of an hour each."""

from __future__ import annotations

from pinnsolve.comparison.grid import Grid
from pinnsolve.errors import SettingsError, unknown_name

PRESETS: dict[str, tuple[str, Grid]] = {
    "activations": (
        "does ELU serve finite differences better? accuracy and audit by activation and formulation",
        Grid(
            problems=("elu_home", "poisson_1d", "heat", "burgers"),
            settings={"time_limit": 15},
            axes={
                "network.activation": ["elu", "celu", "tanh", "gelu"],
                "formulation": ["direct", "first-order"],
                "seed": [0, 1, 2],
            },
        ),
    ),
    "engines": (
        "pinnsolve against DeepXDE, by its best recipe and by that of its documentation",
        Grid(
            problems=("burgers", "heat", "poisson", "wave"),
            settings={"time_limit": 30, "network.activation": "tanh"},
            axes={"seed": [0, 1, 2]},
            variants=(
                {"label": "pinnsolve", "engine": "native"},
                {"label": "DeepXDE, best", "engine": "deepxde", "deepxde.recipe": "best"},
                {"label": "DeepXDE, documented", "engine": "deepxde", "deepxde.recipe": "documented"},
            ),
        ),
    ),
    "optimizers": (
        "one network, six optimizers",
        Grid(
            problems=("burgers", "heat", "poisson", "wave"),
            settings={"time_limit": 15, "network.activation": "tanh"},
            axes={"training.optimizer": ["lm", "sketched", "ssbroyden", "lbfgs", "soap", "adam"], "seed": [0, 1, 2]},
        ),
    ),
}


def preset(name: str) -> Grid:
    """Return a preset's grid.

    Raises:
        SettingsError: there is no such preset.
    """
    if name not in PRESETS:
        raise SettingsError(unknown_name("preset", name, PRESETS))
    return PRESETS[name][1]

"""Comparisons that are ready to run: the founding claim, the engines, the optimizers."""

from __future__ import annotations

from pinnsolve.comparison.grid import Grid
from pinnsolve.errors import SettingsError, unknown_name

PRESETS: dict[str, tuple[str, Grid]] = {
    "activations": (
        "does ELU serve finite differences better? accuracy and audit, activation by activation",
        Grid(
            problems=("burgers", "heat", "poisson", "wave", "elu_home"),
            settings={"time_limit": 30, "training.optimizer": "lm"},
            axes={"network.activation": ["elu", "tanh", "gelu", "sine"], "seed": [0, 1, 2]},
        ),
    ),
    "engines": (
        "pinnsolve against DeepXDE, by its best recipe and by that of its documentation",
        Grid(
            problems=("burgers", "heat", "poisson", "wave", "logistic"),
            settings={"time_limit": 60, "network.activation": "tanh"},
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
            settings={"time_limit": 30, "network.activation": "tanh"},
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

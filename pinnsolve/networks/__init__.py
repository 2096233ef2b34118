"""Networks: activations, architectures, and the trial solution with conditions built in."""

from pinnsolve.networks.activations import Activation, activation, activation_names
from pinnsolve.networks.ansatz import Ansatz, InputFeatures, output_scales, points_at_once
from pinnsolve.networks.constraints import Constraints, derive_constraints
from pinnsolve.networks.multilayer import INITIALIZATIONS, MultilayerPerceptron

__all__ = [
    "INITIALIZATIONS",
    "Activation",
    "Ansatz",
    "Constraints",
    "InputFeatures",
    "MultilayerPerceptron",
    "activation",
    "activation_names",
    "derive_constraints",
    "output_scales",
    "points_at_once",
]

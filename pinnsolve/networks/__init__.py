"""Networks: activations, architectures, and the trial solution with conditions built in."""

from pinnsolve.networks.activations import Activation, activation, activation_names
from pinnsolve.networks.ansatz import Ansatz, InputFeatures, output_scales, points_at_once, random_frequencies
from pinnsolve.networks.constraints import Constraints, derive_constraints
from pinnsolve.networks.initialization import INITIALIZATIONS
from pinnsolve.networks.multilayer import MultilayerPerceptron
from pinnsolve.networks.network import Network
from pinnsolve.networks.singularities import damping, singularities
from pinnsolve.networks.trunks import SeparateTrunks, build_network

__all__ = [
    "INITIALIZATIONS",
    "Activation",
    "Ansatz",
    "Constraints",
    "InputFeatures",
    "MultilayerPerceptron",
    "Network",
    "SeparateTrunks",
    "activation",
    "activation_names",
    "build_network",
    "damping",
    "derive_constraints",
    "output_scales",
    "points_at_once",
    "random_frequencies",
    "singularities",
]

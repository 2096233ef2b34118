"""DeepXDE as the engine: its geometry, conditions, network and optimizers, from the same problem."""

from pinnsolve.solving.deepxde.containment import contained
from pinnsolve.solving.deepxde.model import PeerModel, build_model
from pinnsolve.solving.deepxde.stage import deepxde_plan

__all__ = ["PeerModel", "build_model", "contained", "deepxde_plan"]

"""Reference solutions: exact, from a file, or by a classical solver, each with its own error."""

from pinnsolve.references.exact import exact_derivatives
from pinnsolve.references.obstacles import obstacle
from pinnsolve.references.reference import ReferenceSolution
from pinnsolve.references.search import COMPUTED, GIVEN, ReferenceSolver, applicable, find_reference, known_reference

__all__ = [
    "COMPUTED",
    "GIVEN",
    "ReferenceSolution",
    "ReferenceSolver",
    "applicable",
    "exact_derivatives",
    "find_reference",
    "known_reference",
    "obstacle",
]

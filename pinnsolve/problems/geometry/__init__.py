"""Geometry in words: shapes, what is made of them, and the parts of the boundary."""

from pinnsolve.problems.geometry.domain import Domain, Part
from pinnsolve.problems.geometry.reading import domain_as_box, read_domain
from pinnsolve.problems.geometry.regions import Difference, Intersection, Leaf, Region, Union
from pinnsolve.problems.geometry.shapes import SHAPES, Shape, Wall, shape
from pinnsolve.problems.geometry.sides import Flat, Round

__all__ = [
    "SHAPES",
    "Difference",
    "Domain",
    "Flat",
    "Intersection",
    "Leaf",
    "Part",
    "Region",
    "Round",
    "Shape",
    "Union",
    "Wall",
    "domain_as_box",
    "read_domain",
    "shape",
]

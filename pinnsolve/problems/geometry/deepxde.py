"""Regions as DeepXDE's geometries, for its engine and for comparison; the caller imports DeepXDE."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from pinnsolve.problems.formulas import constant_value
from pinnsolve.problems.geometry.regions import Difference, Intersection, Leaf, Region, Union
from pinnsolve.problems.geometry.shapes import Shape

Numbers = list[float]


def as_deepxde(region: Region, geometry: ModuleType) -> Any:
    """Return the region as a DeepXDE geometry.

    Args:
        region: the region.
        geometry: the module `deepxde.geometry`.
    """
    match region:
        case Leaf(shape=shape):
            return _MAKERS[shape.kind](geometry, [constant_value(argument) for argument in shape.arguments], shape)
        case Union():
            kind = "CSGUnion"
        case Intersection():
            kind = "CSGIntersection"
        case Difference():
            kind = "CSGDifference"
    combine = getattr(geometry.csg, kind)
    return combine(as_deepxde(region.first, geometry), as_deepxde(region.second, geometry))


def _ellipse(geometry: ModuleType, numbers: Numbers, shape: Shape) -> Any:
    return geometry.Ellipse(numbers[:2], numbers[2], numbers[3], *numbers[4:])


def _box(name: str) -> Callable[[ModuleType, Numbers, Shape], Any]:
    return lambda geometry, numbers, shape: getattr(geometry, name)(numbers[::2], numbers[1::2])


def _corners(geometry: ModuleType, numbers: Numbers, shape: Shape) -> Any:
    corners = [list(vertex) for vertex in shape.vertices]
    return geometry.Triangle(*corners) if len(corners) == 3 else geometry.Polygon(corners)


def _sphere(geometry: ModuleType, numbers: Numbers, shape: Shape) -> Any:
    kind = geometry.Sphere if len(numbers) == 4 else geometry.Hypersphere
    return kind(numbers[:-1], numbers[-1])


_MAKERS: dict[str, Callable[[ModuleType, Numbers, Shape], Any]] = {
    "cuboid": _box("Cuboid"),
    "disk": lambda geometry, numbers, shape: geometry.Disk(numbers[:2], numbers[2]),
    "ellipse": _ellipse,
    "hypercube": _box("Hypercube"),
    "interval": lambda geometry, numbers, shape: geometry.Interval(*numbers),
    "polygon": _corners,
    "rectangle": _box("Rectangle"),
    "sphere": _sphere,
    "triangle": _corners,
}

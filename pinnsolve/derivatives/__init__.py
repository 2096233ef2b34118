"""Interchangeable makers of jets: nested autograd, Taylor mode, finite differences, the exact solution."""

from pinnsolve.derivatives.autograd import autograd
from pinnsolve.derivatives.exact import exact
from pinnsolve.derivatives.jet import Differentiator, Fields, Jet
from pinnsolve.derivatives.taylor import taylor

__all__ = ["Differentiator", "Fields", "Jet", "autograd", "exact", "taylor"]

"""Jets of a known solution, differentiated symbolically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import sympy
import torch
from torch import Tensor

from pinnsolve.derivatives.jet import Differentiator, Fields, Jet
from pinnsolve.problems import Partial
from pinnsolve.problems.formulas import Formula, numpy_functions
from pinnsolve.problems.problem import differentiated


def exact(expressions: Mapping[str, sympy.Expr], symbols: Sequence[sympy.Symbol]) -> Differentiator:
    """Return the differentiator of these expressions; the fields it is called with are not looked at.

    Args:
        expressions: the solution by field name, in the coordinates' symbols.
        symbols: the coordinates in column order.
    """

    def differentiator(fields: Fields, points: Tensor, partials: Sequence[Partial]) -> Jet:
        derivatives = [differentiated(expressions[partial.field], partial, symbols) for partial in partials]
        columns = list(points.detach().cpu().numpy().T)
        values = Formula(derivatives, symbols)(numpy_functions(), columns)
        filled = [np.broadcast_to(np.asarray(value, dtype=float), len(points)).copy() for value in values]
        tensors = [torch.as_tensor(value, dtype=points.dtype, device=points.device) for value in filled]
        return Jet(points, dict(zip(partials, tensors, strict=True)))

    return differentiator

"""Compiled evaluation: a function of tensors is recorded once and fused into a few kernels by torch.compile."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from pinnsolve.derivatives.composition import recording
from pinnsolve.errors import ResourceError

Evaluation = Callable[[], Tensor]


def compiled(function: Evaluation, backend: str | Callable = "inductor") -> Evaluation:
    """Return a function that repeats this one on the present content of the tensors that it reads.

    The function is run, and every operation is recorded, those of its backward passes too. The tensors that it reads
    and writes are known by identity: they may only change in place. Python's numbers, shapes and branches stay as they
    were. Compiling takes many seconds; torch keeps the kernels on disk, and the next process takes a third of them.

    Args:
        function: takes nothing and returns a tensor.
        backend: of torch.compile.

    Raises:
        ResourceError: it cannot be recorded or compiled here, or what was compiled gives other numbers.
    """
    expected = function().clone()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of deprecated parts of its own
            result = torch.no_grad()(torch.compile(_recorded(function), backend=backend))
            found = result()
    except Exception as error:  # whatever Python, torch or a C++ compiler may find fault with
        raise ResourceError(f"the equations cannot be compiled here: {_first_line(error)}") from error
    if not torch.allclose(found, expected, rtol=torch.finfo(expected.dtype).eps ** 0.5, equal_nan=True):
        raise ResourceError(f"the compiled equations give {found.tolist()} instead of {expected.tolist()}")
    return result


def _recorded(function: Evaluation) -> Evaluation:
    """Return the operations that a run of the function consists of, as a function."""
    from torch.fx.experimental.proxy_tensor import make_fx  # heavy, and of no use to those who do not compile

    with recording():
        return make_fx(function)()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

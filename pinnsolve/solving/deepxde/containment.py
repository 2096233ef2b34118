"""DeepXDE without a trace: what it sets, draws, prints and asks stays inside a `with` block.

Importing it makes CUDA torch's default device; its precision is torch's default dtype; its seed is that of
`random`, NumPy and torch; its L-BFGS has options in a global table. Without DDE_BACKEND it writes ~/.deepxde and
may ask a question on stdin.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pinnsolve.errors import ResourceError

BACKEND = "pytorch"


@contextlib.contextmanager
def contained(precision: str, device: torch.device, seed: int | None = None) -> Iterator[ModuleType]:
    """Yield DeepXDE in this precision and on this device, and leave everything as it was.

    Args:
        precision: "float64" or "float32".
        device: where its tensors are made.
        seed: of all that is drawn inside; None where nothing is.

    Raises:
        ResourceError: it is not installed, or was loaded with another backend than PyTorch.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_torch_defaults())
        dde = _imported()
        stack.enter_context(_own_settings(dde))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        dde.config.set_default_float(precision)
        torch.set_default_device(None if device.type == "cpu" else device)  # a set default slows every call down
        if seed is not None:
            stack.enter_context(_generators(device))
            dde.config.set_random_seed(seed)
        yield dde


def _imported() -> ModuleType:
    """Return the module; its first import is silent and asks nothing."""
    known = sys.modules.get("deepxde")
    if known is None:
        with _variable("DDE_BACKEND", BACKEND), contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            stack.enter_context(_no_questions())
            stack.enter_context(_generators(torch.device("cpu")))  # a package that it imports draws a number
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            try:
                known = import_module("deepxde")
            except ImportError as error:
                raise ResourceError(
                    f"engine deepxde needs the package deepxde ({error}); pip install deepxde"
                ) from None
    if known.backend.backend_name != BACKEND:
        raise ResourceError(
            f"DeepXDE was loaded with the backend {known.backend.backend_name!r}; {BACKEND!r} is needed"
        )
    return known


@contextlib.contextmanager
def _torch_defaults() -> Iterator[None]:
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device.type == "cpu" else device)


@contextlib.contextmanager
def _own_settings(dde: ModuleType) -> Iterator[None]:
    options: dict[str, Any] = dde.optimizers.config.LBFGS_options
    before, precision, seed = dict(options), dde.config.real.precision, dde.config.random_seed
    try:
        yield
    finally:
        options.clear()
        options.update(before)
        getattr(dde.config.real, f"set_float{precision}")()
        dde.config.random_seed = seed
        dde.grad.clear()  # graphs of a step that was interrupted


@contextlib.contextmanager
def _generators(device: torch.device) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the state that DeepXDE seeds
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _no_questions() -> Iterator[None]:
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = stdin

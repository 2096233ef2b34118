"""pinnsolve: physics-informed neural networks with an audit of their derivatives.

>>> import pinnsolve
>>> solution = pinnsolve.solve("burgers", activation="tanh", time_limit=60)  # doctest: +SKIP
>>> solution.fields["u"].relative_l2  # doctest: +SKIP
>>> solution([[0.0, 0.5]])["u"], solution.derivatives([[0.0, 0.5]], "u_xx")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

__all__ = ["Problem", "Settings", "Solution", "load_problem", "solve"]

# name: the module that holds it; loaded on first use, so that the command line starts at once
_HOMES = {
    "Problem": "pinnsolve.problems",
    "Settings": "pinnsolve.solving",
    "Solution": "pinnsolve.solving",
    "load_problem": "pinnsolve.problems",
    "solve": "pinnsolve.solving",
}


def __getattr__(name: str) -> Any:
    """Return a public name, imported on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pinnsolve' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value

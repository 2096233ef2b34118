"""The settings that have options of their own: one value each for `solve`, lists with commas for `compare`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pinnsolve.errors import InputError

NAMED: dict[str, tuple[type, str]] = {
    "activation": (str, "Activation: elu, tanh, gelu, ..."),
    "optimizer": (str, "auto, lm, sketched, ssbroyden, soap, adam, lbfgs, least-squares."),
    "engine": (str, "native, deepxde."),
    "formulation": (str, "direct, first-order."),
    "derivatives": (str, "taylor, autograd, fd, coupled."),
    "constraints": (str, "auto, hard, soft."),
    "width": (int, "Units in each hidden layer."),
    "depth": (int, "Hidden layers."),
    "points": (int, "Collocation points."),
    "steps": (int, "Largest number of steps."),
    "time_limit": (float, "Seconds of training."),
    "precision": (str, "float64, float32."),
    "device": (str, "auto, cpu, cuda."),
    "seed": (int, "Seed of weights and points."),
}
PLACE = "settings"  # the parameter of a command in whose place the options stand


def with_settings(*, lists: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the decorator that gives a command one option per setting in place of its parameter `settings`.

    The command is called with a dict by name, None where an option was not given.

    Args:
        lists: the options take text, several values separated by commas.
    """
    options = [_option(name, str if lists else kind, text) for name, (kind, text) in NAMED.items()]

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        parameters = list(inspect.signature(command, eval_str=True).parameters.values())
        place = [parameter.name for parameter in parameters].index(PLACE)

        @functools.wraps(command)
        def gathered(**given: Any) -> None:
            settings = {name: given.pop(name) for name in NAMED}
            command(**{PLACE: settings}, **given)

        signature = inspect.Signature([*parameters[:place], *options, *parameters[place + 1 :]])
        gathered.__signature__ = signature  # type: ignore[attr-defined]  # what Typer reads
        return gathered

    return decorated


def folder_name(text: str) -> Path:
    """Return the folder of this name.

    Raises:
        InputError: there is none, as where a shell puts in a variable that is not set; '.' is the current folder.
    """
    if not str(text):
        raise InputError("the name of a folder is empty; write . for the current one")
    return Path(text)


def _option(name: str, kind: type, text: str) -> inspect.Parameter:
    annotation = Annotated[kind | None, typer.Option(help=text)]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=annotation)

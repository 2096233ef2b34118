r"""Wirings: how the hidden layers of a perceptron are connected.

A wiring is two functions of a list of linear layers: their shapes, and the values that come out of them.
Every wiring ends in a plain layer φ(V h + c) on what it made of the inputs, so that one rule widens them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

from pinnsolve.errors import SettingsError, unknown_name

Shape = tuple[int, int]  # fan-in, fan-out
Phi = Callable[[Any], Any]


@dataclass(frozen=True)
class Wiring:
    """The connections of hidden layers.

    Attributes:
        shapes: (inputs, widths) to the shape of every linear layer, in the order in which `values` takes them;
            the last one makes the last hidden layer.
        values: (layers, φ, z) to the last hidden layer's values, for a tensor or a truncated Taylor series z.
        readers: how many layers, the first ones, see the network's inputs.
    """

    shapes: Callable[[int, Sequence[int]], list[Shape]]
    values: Callable[[Sequence[nn.Module], Phi, Any], Any]
    readers: int


def wiring(kind: str) -> Wiring:
    """Return the wiring of this name.

    Raises:
        SettingsError: the name is unknown.
    """
    if kind not in WIRINGS:
        raise SettingsError(unknown_name("kind of network", kind, WIRINGS))
    return WIRINGS[kind]


def _chain_shapes(inputs: int, widths: Sequence[int]) -> list[Shape]:
    return list(pairwise([inputs, *widths]))


def _chain(layers: Sequence[nn.Module], phi: Phi, z: Any) -> Any:
    """Return h_L of h_0 = z, h_k = φ(W_k h_(k-1) + b_k)."""
    for layer in layers:
        z = phi(layer(z))
    return z


def _residual_shapes(inputs: int, widths: Sequence[int]) -> list[Shape]:
    *body, last = widths
    width = _common_width("resnet", body)
    return [(inputs, width), *[(width, width)] * (2 * len(body)), (width, last)]


def _residual(layers: Sequence[nn.Module], phi: Phi, z: Any) -> Any:
    r"""Return φ(V h_B + c) of pre-activation residual blocks between a linear lift and a plain last layer.

        h_0 = A z + a,    h_k = h_(k-1) + W_k φ(V_k φ(h_(k-1)) + c_k) + b_k

    Nothing but additions lies between h_0 and h_B: the signal and its gradient pass unchanged.
    Source: He, Zhang, Ren, Sun (2016), Identity mappings in deep residual networks, ECCV.
    """
    lift, *blocks, last = layers
    h = lift(z)
    for inner, outer in zip(blocks[::2], blocks[1::2], strict=True):
        h = h + outer(phi(inner(phi(h))))
    return phi(last(h))


def _gated_shapes(inputs: int, widths: Sequence[int]) -> list[Shape]:
    *body, last = widths
    width = _common_width("gated", body)
    return [(inputs, width)] * 3 + [(width, width)] * (len(body) - 1) + [(width, last)]


def _gated(layers: Sequence[nn.Module], phi: Phi, z: Any) -> Any:
    r"""Return φ(V h_G + c) of layers that mix two encodings of the inputs.

        u = φ(A z + a),   v = φ(B z + b),   h_0 = z,
        g_k = φ(W_k h_(k-1) + b_k),   h_k = (1 - g_k) u + g_k v

    The last hidden layer is plain, where Wang et al. put the output layer on h_G itself: its units are
    φ of linear functions, which perturbed copies can widen, and a mixture is not.
    Source: Wang, Teng, Perdikaris (2021), SIAM J. Sci. Comput. 43, A3055-A3081, section 2.6.
    """
    first, second, *gates, last = layers
    u, v = phi(first(z)), phi(second(z))
    difference = v - u
    h = z
    for gate in gates:
        h = u + phi(gate(h)) * difference
    return phi(last(h))


def _common_width(kind: str, body: Sequence[int]) -> int:
    """Return the width of all layers but the last.

    Raises:
        SettingsError: there is none, or they differ.
    """
    if not body:
        raise SettingsError(f"network.kind = {kind} needs a network.depth of at least 2, got 1")
    if len(set(body)) > 1:
        raise SettingsError(f"network.kind = {kind} needs equal widths before its last layer, got {list(body)}")
    return body[0]


WIRINGS: dict[str, Wiring] = {
    "gated": Wiring(_gated_shapes, _gated, readers=3),
    "mlp": Wiring(_chain_shapes, _chain, readers=1),
    "resnet": Wiring(_residual_shapes, _residual, readers=1),
}

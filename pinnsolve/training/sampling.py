"""Collocation points: quasi-random in the domain and on its boundary, and more of them where the residual is large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc
from torch import Generator, Tensor

from pinnsolve.problems import Condition, Problem
from pinnsolve.problems.places import Place

CANDIDATES = 8  # per chosen point: how many times denser than even the chosen ones can lie
_MOST_DRAWS = 1000
_FEWEST = 256  # points to draw at once
_BLOCK = 10  # Sobol points are drawn in blocks of 2^10, since only powers of two are balanced


class SobolStream:
    """An endless scrambled Sobol sequence in the unit cube (Joe, Kuo 2008; Owen 1998).

    Args:
        dimension: d >= 1.
        seed: of the scrambling.
    """

    def __init__(self, dimension: int, seed: int) -> None:
        self._dimension, self._seed = dimension, seed
        self._engine = qmc.Sobol(dimension, seed=seed)
        self._left = np.empty((0, dimension))
        self.drawn = 0

    def draw(self, count: int) -> NDArray[np.float64]:
        """Return the next points, (count, d)."""
        parts, there = [self._left], len(self._left)
        while there < count:
            if self._engine.num_generated + 2**_BLOCK > 2**30:  # the sequence ends; scramble anew
                self._engine = qmc.Sobol(self._dimension, seed=self._seed + self.drawn)
            parts.append(self._engine.random(2**_BLOCK))
            there += 2**_BLOCK
        drawn = np.concatenate(parts)
        points, self._left = drawn[:count], drawn[count:]
        self.drawn += count
        return points

    def skip_to(self, drawn: int) -> None:
        """Go on as if this many points had been drawn since the start, as a resumed run must."""
        blocks = -(-drawn // 2**_BLOCK)
        self._engine = qmc.Sobol(self._dimension, seed=self._seed)
        if blocks > 1:
            self._engine.fast_forward((blocks - 1) * 2**_BLOCK)
        self._left = self._engine.random(2**_BLOCK)[drawn - (blocks - 1) * 2**_BLOCK :] if blocks else self._left[:0]
        self.drawn = drawn


class Sampler:
    """Draws points of the domain, or of the part of its boundary on which a condition holds.

    Args:
        problem: gives the domain.
        condition: None for the whole domain.
        seed: of the sequence.
        dtype, device: of the points returned.
    """

    def __init__(
        self, problem: Problem, condition: Condition | None, seed: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.condition = condition
        self.box = problem.box
        self._place = Place(problem, condition)
        self._stream = SobolStream(max(self._place.dimension, 1), seed)
        self._dtype, self._device = dtype, device

    @property
    def is_single_point(self) -> bool:
        """Whether there is only one point to draw: the end of an interval."""
        return not self._place.dimension

    def draw(self, count: int, ends: float = 0.0) -> Tensor:
        """Return the next points, (count, d), or (1, d) at the end of an interval.

        Args:
            count: how many, N.
            ends: share of points of the domain that gather towards the ends of its coordinates.

        Raises:
            ValueError: next to nothing of the place lies in the domain or satisfies the condition's restriction.
        """
        if self.is_single_point:
            return self._tensor(self._place.points(np.empty((1, 0))))
        positions = self._stream.draw(count)
        if ends:
            gathered = int(ends * count)
            positions = np.concatenate([self._place.towards_ends(positions[:gathered]), positions[gathered:]])
        found = [self._place.points(positions)]
        there = len(found[0])
        for _ in range(_MOST_DRAWS):
            if there >= count:
                return self._tensor(np.concatenate(found)[:count])
            found.append(self._place.points(self._stream.draw(max(2 * (count - there), _FEWEST))))
            there += len(found[-1])
        name = "the domain" if self.condition is None else f"condition {self.condition.name!r}"
        raise ValueError(f"{name} holds almost nowhere: {there} of {count} points after {_MOST_DRAWS} draws")

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {"drawn": self._stream.drawn}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another sampler of the same seed stood."""
        self._stream.skip_to(int(state["drawn"]))

    def _tensor(self, points: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(points, dtype=self._dtype, device=self._device)


def residual_weighted(
    sampler: Sampler,
    count: int,
    fraction: float,
    magnitude: Callable[[Tensor], Tensor],
    generator: Generator,
    ends: float = 0.0,
) -> Tensor:
    """Return points of which a fraction is drawn in proportion to |residual| among candidates.

    The other points cover the box evenly, so that no region is ever left out.

    Args:
        sampler: draws uniform points.
        count: how many points, N.
        fraction: share of residual-weighted points, in [0, 1].
        magnitude: points (M, d) to |residual| (M,).
        generator: source of the choice, on the CPU.
        ends: share of the other points that gather towards the ends of the coordinates.

    Source: Wu, Zhu, Tan, Kartha, Lu (2023), Comput. Methods Appl. Mech. Eng. 403, 115671 (RAD).
    """
    chosen = min(int(fraction * count), count)
    if chosen == 0 or sampler.is_single_point:
        return sampler.draw(count, ends)
    even, pool = sampler.draw(count - chosen, ends), sampler.draw(CANDIDATES * chosen)
    weights = magnitude(pool).double().cpu()
    if not (torch.isfinite(weights).all() and weights.sum() > 0):
        return torch.cat([even, pool[:chosen]])  # the loss that follows names the fault
    index = torch.multinomial(weights, chosen, generator=generator)
    return torch.cat([even, pool[index.to(pool.device)]])

"""The rounding noise of a field: what its values err by from point to point."""

from __future__ import annotations

import torch
from torch import Tensor

from pinnsolve.audit.records import rms
from pinnsolve.audit.sample import Sample
from pinnsolve.derivatives.jet import Fields
from pinnsolve.problems import Partial

Noise = dict[tuple[str, int], float]
_LEAST = 0.25  # of the unit roundoff: an evaluation that happens to be exact here is not exact everywhere


@torch.no_grad()
def rounding_noise(fields: Fields, sample: Sample, points: Tensor, names: list[str]) -> Noise:
    """Return the standard deviation σ of rounding errors by (field, coordinate), RMS over the points.

    Fourth differences with a tiny step: Σ c_j f(x + j h) has the variance σ² Σ c², while its smooth
    part h⁴ f⁗ is far below rounding. At least a quarter of the unit roundoff times the RMS of f.
    Source: Moré, Wild (2011), SIAM J. Sci. Comput. 33, 1292-1314 (ECnoise).

    Args:
        fields: evaluated in the dtype of the points.
        sample: the domain and its steps.
        points: (N, d), the sample's points in the dtype to measure.
        names: the fields.
    """
    dtype = str(points.dtype).removeprefix("torch.")
    dimension = points.shape[-1]
    fourth = [tuple(4 * (a == axis) for a in range(dimension)) for axis in range(dimension)]
    batch = sample.differentiator("central2", sample.noise_step(dtype)).batch(points, fourth)
    values = fields(batch.nodes)
    roundoff = torch.finfo(points.dtype).eps / 2
    noise: Noise = {}
    for name in names:
        floor = _LEAST * roundoff * float(torch.as_tensor(values[name]).double().square().mean().sqrt())
        for axis, alpha in enumerate(fourth):
            normalised = batch.derivative(values[name], alpha).double() * batch.scale(alpha) / batch.spread(alpha)
            noise[name, axis] = max(float(rms(normalised.cpu().numpy())), floor)
    return noise


def noise_of(partial: Partial, noise: Noise) -> float:
    """Return the noise along the coordinates that a derivative differentiates, the largest of them."""
    return max(noise[partial.field, axis] for axis, order in enumerate(partial.orders) if order)

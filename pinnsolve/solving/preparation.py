"""A window of time (or all of it) made ready to train: ansatz, jets, objective, plan."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from pinnsolve.errors import ResourceError
from pinnsolve.networks import (
    Ansatz,
    Constraints,
    InputFeatures,
    build_network,
    damping,
    derive_constraints,
    output_scales,
    random_frequencies,
    singularities,
)
from pinnsolve.problems import Problem
from pinnsolve.solving.differentiation import choose_differentiator
from pinnsolve.solving.march import Window
from pinnsolve.solving.settings import Settings
from pinnsolve.training import Budget, Objective, Stage, Training, build_objective, make_plan
from pinnsolve.training.initial_guess import begin_finite
from pinnsolve.training.plan import WindowFeatures
from pinnsolve.training.sampling import Sampler
from pinnsolve.training.workers import join_workers, own_device

HELD_OUT_POINTS = 2**12
HELD_OUT_SEED = 500_009  # apart from the seeds of training points


def prepare_window(
    problem: Problem, settings: Settings, seed: int, budget: Budget, features: WindowFeatures | None = None
) -> Window:
    """Return a window that is ready to train.

    Args:
        problem: in the window; the whole one where nothing is marched.
        settings: how to train.
        seed: of weights and points.
        budget: time and steps of the window.
        features: what it begins with if its length adapts, else None.
    """
    device, dtype = chosen_device(settings.device), getattr(torch, settings.precision)
    workers = budget.workers = join_workers(device)
    generator = Generator().manual_seed(seed)
    constraints = derive_constraints(problem, settings.constraint_mode)
    ansatz = build_ansatz(problem, settings, constraints, generator).to(device)
    differentiator, layerwise, fault = choose_differentiator(problem, settings, ansatz)
    objective = build_objective(
        problem,
        ansatz,
        differentiator,
        constraints.soft,
        settings.training,
        field_scales=dict(zip(problem.field_names, ansatz.scales, strict=True)),
        layerwise=layerwise,
        damping=damping(ansatz.features.singularities),
        workers=workers,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    held_out = _held_out_points(problem, constraints, seed, dtype, device)
    if features is None:  # features begin with zero output weights
        begin_finite(objective, ansatz.network, held_out)
    plan, why = _plan(problem, ansatz, objective, constraints, settings, seed, features)
    training = Training(
        ansatz=ansatz,
        objective=objective,
        plan=plan,
        settings=settings.training,
        generator=generator,
        budget=budget,
        held_out=held_out,
    )
    notes = [sentence for sentence in (*constraints.notes, fault) if sentence]
    return Window(problem, constraints, ansatz, differentiator, training, why, notes)


def _plan(
    problem: Problem,
    ansatz: Ansatz,
    objective: Objective,
    constraints: Constraints,
    settings: Settings,
    seed: int,
    features: WindowFeatures | None,
) -> tuple[Sequence[Stage], str]:
    """Return the stages of the engine that the settings name, and why."""
    if settings.engine == "deepxde":
        from pinnsolve.solving.deepxde import deepxde_plan

        return deepxde_plan(problem, ansatz, constraints, settings, seed, objective.workers)
    return make_plan(
        problem,
        ansatz,
        objective,
        settings.training,
        feature_activations=settings.network.feature_activations,
        double=settings.precision == "float64",
        seed=seed,
        window=features,
    )


def _held_out_points(
    problem: Problem, constraints: Constraints, seed: int, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    """Return points, one tensor per block of the objective, that no training step draws."""
    places = [None, *constraints.soft]
    samplers = [
        Sampler(problem, place, seed + HELD_OUT_SEED + index, dtype, device) for index, place in enumerate(places)
    ]
    return [sampler.draw(HELD_OUT_POINTS if index == 0 else 512) for index, sampler in enumerate(samplers)]


def build_ansatz(problem: Problem, settings: Settings, constraints: Constraints, generator: Generator) -> Ansatz:
    """Return the untrained trial solution, on the CPU."""
    dtype = getattr(torch, settings.precision)
    chosen = settings.network
    frequencies = random_frequencies(problem, chosen.random_fourier, chosen.fourier_scale, settings.seed)
    own = chosen.singularities and settings.engine == "native"  # DeepXDE is run by its own recipes
    found = singularities(problem) if own else []
    features = InputFeatures(problem, chosen.fourier, dtype, frequencies, found)
    network = build_network(chosen, features.size, len(problem.fields), dtype, generator)
    return Ansatz(problem, constraints, features, network, output_scales(problem))


def chosen_device(name: str) -> torch.device:
    """Return the device that a setting names.

    Raises:
        ResourceError: it is not there.
    """
    if name == "auto":
        return own_device(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ResourceError(f"device {name!r} is not there: {count} CUDA devices found; use --device cpu or auto")
    return own_device(device)

"""The processes that train one network together: each has points of its own, all have the same weights.

Started by `torchrun --nproc-per-node W -m pinnsolve solve ...`. Sums over points (JᵀJ, Jᵀr, losses) are
added up over the processes, triangular factors are stacked and factorised again, and whatever depends on a
clock is what the first process says: all of them take the same decisions, step by step.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import torch
import torch.distributed as processes
from torch import Tensor

from pinnsolve.errors import ResourceError

SEEDS_APART = 10_007  # between the point sequences of two processes


@dataclass(frozen=True)
class Workers:
    """The processes of one run, seen from one of them; a single process needs no communication.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
        device: where tensors must lie to be sent.
    """

    rank: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes, prints, and holds the clock."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """Return the seed of this process's own points."""
        return seed + SEEDS_APART * self.rank

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes; the tensor may be overwritten by it."""
        if self.count > 1:
            processes.all_reduce(values)
        return values

    def mean(self, value: float) -> float:
        """Return the mean of a number over the processes."""
        if self.count == 1:
            return value
        return float(self.total(self._tensor(value))) / self.count

    def agreed(self, value: float) -> float:
        """Return the first process's number."""
        if self.count == 1:
            return value
        sent = self._tensor(value)
        processes.broadcast(sent, src=0)
        return float(sent)

    def stacked(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, one below the other; all have as many."""
        if self.count == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.count)]
        processes.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def _tensor(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64, device=self.device)


ALONE = Workers()


def join_workers(device: torch.device) -> Workers:
    """Return the processes that `torchrun` started this one with; a process started otherwise is alone.

    Args:
        device: of training; CUDA processes talk by NCCL, others by Gloo.

    Raises:
        ResourceError: the processes cannot reach each other.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    if not processes.is_initialized():
        try:
            processes.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            raise ResourceError(f"the {count} processes of this run cannot reach each other: {error}") from None
        atexit.register(processes.destroy_process_group)  # else its threads may abort a process that ends
    return Workers(processes.get_rank(), count, device)


def own_device(device: torch.device) -> torch.device:
    """Return the device of this process: with several processes on a machine, each takes the GPU of its number."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device

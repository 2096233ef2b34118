"""Where runs are executed: worker processes of this machine, or those of a Dask scheduler that is there already."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pinnsolve.comparison.execution import ALLOWED_FAILURES, Order, Report, died, failed, isolated
from pinnsolve.errors import ResourceError

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 30  # seconds to find a scheduler


@dataclass(frozen=True)
class Workers:
    """Worker processes of this machine.

    Attributes:
        count: how many.
        threads: of each one's matrix kernels.
        gpus: the CUDA devices, handed out one per worker; none for runs on CPUs.
    """

    count: int
    threads: int
    gpus: tuple[int, ...] = ()

    @classmethod
    def of(cls, jobs: int | None, gpus: Sequence[int] = ()) -> Workers:
        """Return workers that share this machine's cores evenly: one per GPU, else one per core, or `jobs`."""
        cores = len(os.sched_getaffinity(0))
        count = jobs or len(gpus) or cores
        return cls(count, max(cores // count, 1), tuple(gpus))

    def environment(self, index: int) -> dict[str, str]:
        """Return the environment variables of one worker."""
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        variables = dict.fromkeys(names, str(self.threads)) | {"GOMP_SPINCOUNT": "1000"}
        if self.gpus:
            variables["CUDA_VISIBLE_DEVICES"] = str(self.gpus[index % len(self.gpus)])
        return variables


@contextlib.contextmanager
def local_client(workers: Workers) -> Iterator[Client]:
    """Yield a client of a cluster on this machine; a worker that dies is replaced, and its run repeated."""
    import dask
    from distributed import Client, Nanny, Scheduler, SpecCluster

    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}  # any free port, not seen from other machines
    options = {"nthreads": 1, "memory_limit": 0, "silence_logs": 50, **here}
    specification = {
        index: {"cls": Nanny, "options": {**options, "env": workers.environment(index)}}
        for index in range(workers.count)
    }
    scheduler = {"cls": Scheduler, "options": {"port": 0, "dashboard": False, **here}}
    with dask.config.set(_configuration()):
        cluster = SpecCluster(workers=specification, scheduler=scheduler, silence_logs=50)
        client = Client(cluster, set_as_default=False)
        try:
            yield client
        finally:
            for each in (client, cluster):
                # on a busy machine workers may not end in time; they end with this process at the latest
                with contextlib.suppress(TimeoutError, OSError):
                    each.close()


@contextlib.contextmanager
def remote_client(address: str) -> Iterator[Client]:
    """Yield a client of the scheduler at an address.

    Raises:
        ResourceError: nothing answers there.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ResourceError(f"no Dask scheduler answers at {address!r}: {str(error)[:200]}") from None
    with client:
        yield client


def executed(client: Client, orders: Sequence[Order], report: Report | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Execute runs on a client's workers; yield each one's index and metrics as it ends.

    Raises nothing for a run that fails, or whose worker dies again and again: that is a record too.
    """
    from distributed import as_completed

    futures = {client.submit(isolated, order, report, pure=False): index for index, order in enumerate(orders)}
    for future in as_completed(futures, loop=client.loop, raise_errors=False):
        index = futures[future]
        if future.status == "finished":
            record = future.result()
            if record["status"] != "failed" and not orders[index].folder.is_dir():
                reason = f"its folder {orders[index].folder} is not seen from here; --output must name a shared folder"
                record = {**record, "status": "failed", "reason": reason}
        else:
            record = failed(orders[index], _lost(future))
        yield index, record


def _lost(future: Any) -> str:
    error = future.exception() if future.status == "error" else None
    if type(error).__name__ == "KilledWorker":
        return died("each time with its worker")
    return f"the scheduler lost the run: {future.status}" if error is None else f"{type(error).__name__}: {error}"


def _configuration() -> dict[str, Any]:
    return {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.scheduler.work-stealing": True,
        "distributed.comm.timeouts.connect": "30s",
        "distributed.worker.daemon": True,
    }

"""Comparisons: a grid of problems, settings and seeds, run on many processes, and its statistics."""

from pinnsolve.comparison.batch import TARGET, Batch, default_name
from pinnsolve.comparison.cluster import Workers, local_client, remote_client
from pinnsolve.comparison.execution import Order, execute
from pinnsolve.comparison.grid import MOST_RUNS, Grid, Run, axes_of, estimated_seconds, expand, read_grid
from pinnsolve.comparison.presets import PRESETS, preset
from pinnsolve.comparison.statistics import friedman, median_interval, nemenyi_distance, performance_profile
from pinnsolve.comparison.summary import summarize

__all__ = [
    "MOST_RUNS",
    "PRESETS",
    "TARGET",
    "Batch",
    "Grid",
    "Order",
    "Run",
    "Workers",
    "axes_of",
    "default_name",
    "estimated_seconds",
    "execute",
    "expand",
    "friedman",
    "local_client",
    "median_interval",
    "nemenyi_distance",
    "performance_profile",
    "preset",
    "read_grid",
    "remote_client",
    "summarize",
]

"""Run folders: the only place that writes files, so that nothing saved is ever half written."""

from pinnsolve.runs.checkpoints import Checkpoint, load_newest, save_checkpoint
from pinnsolve.runs.comparison import ComparisonFolder
from pinnsolve.runs.folder import RunFolder

__all__ = ["Checkpoint", "ComparisonFolder", "RunFolder", "load_newest", "save_checkpoint"]

"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error) or may be (warning) or is good to know (note), and what to do about it."""

    level: Level
    key: str
    message: str
    remedy: str

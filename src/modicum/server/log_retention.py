"""Which output is kept no longer? Pure: what there is in, what goes out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Kept(NamedTuple):
    """A segment of some log. `is_live`: more may come in its log."""

    log: str
    path: Path
    start: int
    size: int
    written_at: float
    is_live: bool


def expired(kept: Iterable[Kept], now: float, kept_s: float, total_max: int) -> list[Kept]:
    """Return the segments that are older than `kept_s`, and the oldest above `total_max` bytes in all.

    Those of apps that have ended go first.
    """
    ordered = sorted(kept, key=lambda each: (each.is_live, each.written_at))
    gone = [each for each in ordered if now - each.written_at > kept_s]
    left = [each for each in ordered if now - each.written_at <= kept_s]
    surplus = sum(each.size for each in left) - total_max
    for each in left:
        if surplus <= 0:
            break
        gone.append(each)
        surplus -= each.size
    return gone

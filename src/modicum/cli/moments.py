"""Which moment does somebody mean? `2h` is two hours ago; a date and a time are what they say."""

from __future__ import annotations

import re
import time
from datetime import datetime

from modicum.exception import InvalidError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse(option: str, text: str, now: float | None = None) -> float:
    """Return seconds since the epoch; a time without a zone is of this machine. Raises `InvalidError`."""
    text = text.strip()
    if _AGO.fullmatch(text):
        ago = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
        return max((time.time() if now is None else now) - ago, 0.0)
    try:
        return max(datetime.fromisoformat(text).timestamp(), 0.0)
    except (ValueError, OverflowError):
        raise InvalidError(
            f"{option} {text!r} is no moment: say how long ago (`30m`, `2h`, `1d`), or when (`2026-03-01T05:00:00`)"
        ) from None

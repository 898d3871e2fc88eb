"""Which fields of a message make sense? It comes from anybody: what is wrong in it is found before it does harm."""

from __future__ import annotations

import re
from typing import Any

_CONTAINER = re.compile(r"ta-[0-9a-z]{1,40}")
_INPUT = re.compile(r"fc-[0-9A-Za-z]{1,64}:[0-9]{1,16}")
_VALUE = re.compile(r"bl-[0-9a-f]{16,64}")

SECONDS_MAX = 1e9
"""A longer time is a mistake, or made to break what computes with it: JSON has whole numbers of any length."""


def whole(value: Any) -> int:
    """Return a whole number from 0 up. Raises `ValueError`."""
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError(f"{value!r} is no whole number from 0 up")
    return value


def seconds(value: Any) -> float:
    """Return a time above 0. Raises `ValueError`, also for one that added to the time of day were no float."""
    if type(value) not in (int, float) or not 0 < value <= SECONDS_MAX:
        raise ValueError(f"{value!r} is no time in seconds")
    return value  # type: ignore[no-any-return]


def patience(value: Any, most: float) -> float:
    """Return how many seconds to wait, at most `most`. Raises `ValueError`."""
    if type(value) not in (int, float) or not value >= 0:
        raise ValueError(f"{value!r} is no time to wait in seconds")
    return min(value, most)  # type: ignore[no-any-return]


def container_id(value: Any) -> str:
    """Return the id of a container. Raises `ValueError`: it becomes part of paths."""
    if not isinstance(value, str) or not _CONTAINER.fullmatch(value):
        raise ValueError(f"{value!r} is no id of a container")
    return value


def input_key(value: Any) -> str:
    """Return the name of an input, or "" for what a container has written in its place."""
    return value if isinstance(value, str) and _INPUT.fullmatch(value) else ""


def value_blob(name: Any) -> str | None:
    """Return the name of a value's blob, or None where there is none. Raises `ValueError`, also for other blobs."""
    if name is None or (isinstance(name, str) and _VALUE.fullmatch(name)):
        return name
    raise ValueError(f"{name!r} is no blob of a value")


def cut(payload: bytes, sizes: list[Any]) -> list[bytes]:
    """Return the parts of a payload. Raises `ValueError` if these sizes do not make up exactly all of it."""
    parts = []
    start = 0
    for size in sizes:
        stop = start + whole(size)
        parts.append(payload[start:stop])
        start = stop
    if start != len(payload):
        raise ValueError(f"parts of {start} bytes in a payload of {len(payload)}")
    return parts

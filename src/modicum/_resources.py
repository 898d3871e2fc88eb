"""What may a function ask for of a machine's CPUs, memory and disk? As Modal's client takes it, and as it is sent."""

from __future__ import annotations

from math import isfinite

from modicum.exception import InvalidError
from modicum.wire.messages import CPUS_MAX, CPUS_MIN, DISK_MIB_MAX, MEMORY_MIB_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def cpu(name: str, value: Any) -> list[float | None]:
    """Return how many cores are asked for, and how many may be used at most, as they are sent."""
    request, limit = _pair(name, value, "cores")
    for what, cores in (("request", request), ("limit", limit)):
        if cores is None and what == "limit":
            continue
        if not _is_number(cores):
            raise InvalidError(f"{name} must be a number of cores, or a tuple of a request and a limit, not {value!r}")
        if not cores > 0:
            raise InvalidError(f"CPU {what} must be a positive number, not {cores!r}")
        if not CPUS_MIN <= cores <= CPUS_MAX:
            raise InvalidError(f"CPU {what} must be from {CPUS_MIN} to {CPUS_MAX} cores, not {cores!r}")
    if limit is not None and limit < request:
        raise InvalidError(f"Cannot specify a CPU limit lower than request: {_milli(limit)} < {_milli(request)}")
    return [float(request), None if limit is None else float(limit)]


def memory(name: str, value: Any) -> list[int | None]:
    """Return how many MiB are asked for, and how many may be used at most, as they are sent."""
    request, limit = _pair(name, value, "MiB")
    least = _mib(name, "request", request, MEMORY_MIB_MAX)
    most = None if limit is None else _mib(name, "limit", limit, MEMORY_MIB_MAX)
    if most is not None and most < least:
        raise InvalidError(f"Cannot specify a memory limit lower than request: {most} < {least}")
    return [least, most]


def ephemeral_disk(name: str, value: Any) -> int:
    """Return how many MiB of disk a container may need."""
    return _mib(name, "request", value, DISK_MIB_MAX)


def _pair(name: str, value: Any, unit: str) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)):
        return value, None
    if len(value) != 2 or value[1] is None:
        raise InvalidError(f"{name} must be a number of {unit}, or a tuple of a request and a limit, not {value!r}")
    return value[0], value[1]


def _mib(name: str, what: str, value: Any, most: int) -> int:
    if not _is_number(value) or value != int(value):
        raise InvalidError(f"{name} must be a whole number of MiB, not {value!r}")
    if value <= 0:
        raise InvalidError(f"{name} {what} must be a positive number of MiB, not {value!r}")
    if value > most:
        raise InvalidError(f"{name} {what} must be at most {most:,} MiB, not {value!r}")
    return int(value)


def _milli(cores: float) -> int:
    return int(cores * 1000)


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and isfinite(value))

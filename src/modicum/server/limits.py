"""What of its machine may a function's container use, what is kept for it, and what do its libraries hear of that?"""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

CPUS = 0.125
MEMORY_MIB = 128
"""What a container asks for whose function says nothing, as with Modal."""

BURST_CPUS = 16
"""What a container may use beyond what it asks for, where its function sets no limit; as with Modal."""

PIDS = 4096

DISK_PER_MEMORY = 20
"""So many MiB of disk count as one of memory, as with Modal."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ORT_INTRA_OP_NUM_THREADS")
"""What libraries look at that would otherwise begin a thread for each CPU of the machine."""


class Asked(NamedTuple):
    """What a function asks for, for each of its containers; a limit is None where it sets none."""

    cpus: float
    cpus_limit: float | None
    memory_mib: int
    memory_mib_limit: int | None
    disk_mib: int


def asked(options: dict[str, Any]) -> Asked:
    """Return what a function's options ask for."""
    cpus, cpus_limit = options.get("cpu") or (CPUS, None)
    memory_mib, memory_mib_limit = options.get("memory") or (MEMORY_MIB, None)
    return Asked(cpus, cpus_limit, memory_mib, memory_mib_limit, options.get("ephemeral_disk") or 0)


def limits(options: dict[str, Any], machine_cpus: float) -> dict[str, Any]:
    """Return the limits of a container on a machine with so many CPUs. What could never be exceeded is no limit."""
    wanted = asked(options)
    cpus = wanted.cpus + BURST_CPUS if wanted.cpus_limit is None else wanted.cpus_limit
    memory_mib = wanted.memory_mib_limit
    return {
        "pids": PIDS,
        "memory_bytes": None if memory_mib is None else memory_mib << 20,
        "cpus": cpus if cpus < machine_cpus else None,
    }


def request(options: dict[str, Any], machine_cpus: float) -> dict[str, Any]:
    """Return what is kept for a container on a machine with so many CPUs."""
    wanted = asked(options)
    return {
        "cpus": min(wanted.cpus, machine_cpus),
        "memory_bytes": wanted.memory_mib << 20,
        "disk_bytes": wanted.disk_mib << 20,
    }


def thread_variables(options: dict[str, Any], machine_cpus: float) -> dict[str, str]:
    """Return the variables that have libraries begin as many threads as CPUs are asked for, if any are."""
    if not options.get("cpu"):
        return {}
    return dict.fromkeys(THREADS, str(ceil(min(asked(options).cpus, machine_cpus))))

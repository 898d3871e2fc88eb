"""What an OCI runtime is told: the config.json of one container, as closed as it can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modicum.runtimes.base import BindMount, Command, ContainerSpec
from modicum.runtimes.cores import core_bytes

INIT = "/run/modicum-init"
"""Where the init that reaps and forwards signals stands in a container."""

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
"""Docker's default without MKNOD, NET_RAW and AUDIT_WRITE. All of them count in the container's own namespaces only."""

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

OOM_SCORE = 300
"""Above everybody's 0: where no limit can be set, the kernel ends a container before the user's own programs."""

OPEN_FILES_MAX = 4096
"""All containers and the node share a uid, and the kernel lets a process pass descriptors on only while those in flight
of its whole uid are fewer than it may open itself. So a container's process may open far fewer files than the node, or
a hostile one could keep the node from passing any. (It can keep other containers from starting until it is killed: the
runtime passes descriptors too, and puts itself under this limit first. A hook that sets it later costs 17 ms.)"""

_NO_PRIVILEGE = ("nosuid", "noexec", "nodev")
_FILE_SYSTEMS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/proc", "proc", "proc", _NO_PRIVILEGE),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/mqueue", "mqueue", "mqueue", _NO_PRIVILEGE),
    ("/sys", "sysfs", "sysfs", (*_NO_PRIVILEGE, "ro")),
)


def open_files_for(limit: int) -> int:
    """Return how many files a container's process may open where the node may open `limit`."""
    return min(OPEN_FILES_MAX, limit // 4)


def build_config(
    spec: ContainerSpec, init: str, user_namespace: str, network_namespace: str, open_files: int
) -> dict[str, Any]:
    """Return the configuration, without a seccomp filter, which each runtime takes in its own way."""
    return {
        "ociVersion": "1.0.2",
        "hostname": spec.hostname,
        "root": {"path": str(spec.root)},
        "process": _process(spec, open_files),
        "mounts": [*_file_systems(spec), _bind(BindMount(Path(init), INIT)), *map(_bind, spec.mounts)],
        "linux": {
            "namespaces": [
                {"type": "user", "path": user_namespace},
                {"type": "network", "path": network_namespace},
                {"type": "pid"},
                {"type": "mount"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "cgroup"},
            ],
            "uidMappings": _identity(),
            "gidMappings": _identity(),
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
            "rootfsPropagation": "private",
        },
    }


def build_process(spec: ContainerSpec, command: Command, open_files: int) -> dict[str, Any]:
    """Return what the runtime is told of a command to be executed in a container: its rights are the container's."""
    process = {
        **_process(spec, open_files),
        "args": list(command.argv),
        "env": [f"{name}={value}" for name, value in {**spec.env, **command.env}.items()],
        "cwd": command.cwd or spec.cwd,
    }
    if command.terminal is not None:
        rows, columns = command.terminal
        process |= {"terminal": True, "consoleSize": {"height": rows, "width": columns}}
    return process


def _process(spec: ContainerSpec, open_files: int) -> dict[str, Any]:
    granted = list(CAPABILITIES)
    return {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": [INIT, "--", *spec.argv],
        "env": [f"{name}={value}" for name, value in spec.env.items()],
        "cwd": spec.cwd,
        "noNewPrivileges": True,
        "oomScoreAdj": OOM_SCORE,
        "capabilities": {"bounding": granted, "effective": granted, "permitted": granted},
        "rlimits": [_limit("RLIMIT_NOFILE", open_files), _limit("RLIMIT_CORE", core_bytes())],
    }


def _limit(name: str, most: int) -> dict[str, Any]:
    return {"type": name, "hard": most, "soft": most}


def _file_systems(spec: ContainerSpec) -> list[dict[str, Any]]:
    size = (f"size={spec.limits.memory_bytes}",) if spec.limits.memory_bytes else ()  # else half of the machine's
    shared = ("/dev/shm", "tmpfs", "shm", ("nosuid", "nodev", "noexec", "mode=1777", *size))
    return [
        {"destination": target, "type": kind, "source": source, "options": list(options)}
        for target, kind, source, options in (*_FILE_SYSTEMS, shared)
    ]


def _bind(mount: BindMount) -> dict[str, Any]:
    no_device = () if mount.is_device else ("nodev",)
    options = ["rbind", "rprivate", "nosuid", *no_device, "ro" if mount.read_only else "rw"]
    return {"destination": mount.target, "type": "bind", "source": str(mount.source), "options": options}


def _identity() -> list[dict[str, int]]:
    extents = ((0, 0, 1), (1, 1, 65535))
    return [{"containerID": inside, "hostID": outside, "size": count} for inside, outside, count in extents]

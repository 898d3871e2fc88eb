"""What have the processes of a cgroup used, and did their memory run out?

Each function takes a slot's directories by controller. What a host does not count is None.
"""

from __future__ import annotations

from pathlib import Path

from modicum.runtimes.base import Usage

Groups = dict[str, Path]


def version_1(groups: Groups) -> Usage:
    """Read the files of cgroup v1, of hybrid hosts, too."""
    cpu_ns = _number(groups, "cpuacct", "cpuacct.usage")
    stat = _table(groups, "memory", "memory.stat")
    used = _number(groups, "memory", "memory.usage_in_bytes")
    return Usage(
        cpu_s=None if cpu_ns is None else cpu_ns / 1e9,
        memory_bytes=_without_cache(used, stat.get("total_inactive_file", 0)),
        memory_peak_bytes=_number(groups, "memory", "memory.max_usage_in_bytes"),
        oom=_table(groups, "memory", "memory.oom_control").get("oom_kill", 0) > 0,
    )


def version_2(groups: Groups) -> Usage:
    """Read the files of cgroup v2. The peak is counted from Linux 5.19 on."""
    cpu_us = _table(groups, "cpu", "cpu.stat").get("usage_usec")
    stat = _table(groups, "memory", "memory.stat")
    used = _number(groups, "memory", "memory.current")
    return Usage(
        cpu_s=None if cpu_us is None else cpu_us / 1e6,
        memory_bytes=_without_cache(used, stat.get("inactive_file", 0)),
        memory_peak_bytes=_number(groups, "memory", "memory.peak"),
        oom=_table(groups, "memory", "memory.events").get("oom_kill", 0) > 0,
    )


def _without_cache(used: int | None, cache: int) -> int | None:
    """The kernel takes that cache back as soon as somebody needs the memory."""
    return None if used is None else max(0, used - cache)


def _number(groups: Groups, controller: str, name: str) -> int | None:
    text = _text(groups, controller, name).strip()
    return int(text) if text.isdigit() else None


def _table(groups: Groups, controller: str, name: str) -> dict[str, int]:
    pairs = (line.split() for line in _text(groups, controller, name).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _text(groups: Groups, controller: str, name: str) -> str:
    try:
        return (groups[controller] / name).read_text(encoding="ascii")
    except (KeyError, OSError):
        return ""

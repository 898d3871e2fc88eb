"""Which processes belong to a session, as setsid(2) makes one: a command, and what it has started in the same place."""

from __future__ import annotations

import os


def members(session: int) -> set[int]:
    """Return the processes of a session; its name is the process id of the one that has made it."""
    return {pid for pid, (_, each) in _processes().items() if each == session}


def members_below(parent: int) -> set[int]:
    """Return the processes in the sessions of `parent` and of its children, itself left out."""
    known = _processes()
    sessions = {parent} | {session for above, session in known.values() if above == parent}
    return {pid for pid, (_, session) in known.items() if session in sessions and pid != parent}


def signal_all(pids: set[int], number: int) -> None:
    """Send a signal to each of these that there still is."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it has ended, or has become somebody else's


def _processes() -> dict[int, tuple[int, int]]:
    """Return each process with its parent and its session, zombies left out."""
    return {int(name): parts for name in os.listdir("/proc") if name.isdigit() and (parts := _stat(name)) is not None}


def _stat(pid: str) -> tuple[int, int] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent, _, session = file.read().rpartition(b") ")[2].split()[:4]
    except (OSError, ValueError):
        return None  # it has just ended
    return None if state in (b"Z", b"X") else (int(parent), int(session))

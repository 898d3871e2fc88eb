"""How all processes that somebody has started are found and ended, where no kernel object holds them together.

It takes a subreaper: a process to which orphans below it come home. It is then above all of them whatever they do,
daemons of their own sessions among them. Standard library only, and little of it: each container's init loads this.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_POLL_S = 0.005


def adopt_orphans() -> None:
    """Be the subreaper of all that this process will start. Raises `OSError`."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the thread that forked this process ends. Raises `OSError`."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(ancestor: int) -> set[int]:
    """Return the processes below `ancestor`, zombies left out."""
    return below(ancestor, children())


def children() -> dict[int, list[int]]:
    """Return the children of each process that has any, zombies left out."""
    found: dict[int, list[int]] = {}
    for pid in _pids():
        parent, lives = _parent(pid)
        if lives:
            found.setdefault(parent, []).append(pid)
    return found


def below(ancestor: int, children: dict[int, list[int]]) -> set[int]:
    """Return the processes below `ancestor`, of these."""
    found: set[int] = set()
    waiting = [ancestor]
    while waiting:
        theirs = children.get(waiting.pop(), [])
        found.update(theirs)
        waiting.extend(theirs)
    return found


def end_descendants(ancestor: int, within_s: float) -> bool:
    """SIGKILL everything below `ancestor` until nothing is left; return whether that came to be in time.

    All are stopped first, so that none that forks gets ahead of us. Of these only those are killed that are below it
    still: one may have ended in between, and its number may be somebody else's. Whoever is above reaps them.
    """
    deadline = time.monotonic() + within_s
    while found := descendants(ancestor):
        if time.monotonic() > deadline:
            return False
        _signal_all(found, signal.SIGSTOP)
        stopped = descendants(ancestor)
        if stopped <= found:
            _signal_all(stopped, signal.SIGKILL)
            time.sleep(_POLL_S)
    return True


def end_orphans(known: set[int], within_s: float) -> bool:
    """SIGKILL what has come home to this process, with all below it; return whether nothing was left in time.

    Orphans are the children that are not `known` and in another session than ours: those that we start ourselves and
    do not name here stay in ours.
    """
    ours, deadline = os.getpid(), time.monotonic() + within_s
    while orphans := {pid for pid in _children(ours) - known if _session(pid) not in (None, os.getsid(0))}:
        for pid in orphans:
            end_descendants(pid, max(0.0, deadline - time.monotonic()))
            _signal_all({pid}, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def end_marked(mark: str, within_s: float) -> bool:
    """SIGKILL the processes with `mark` (`NAME=value`) in their environment; return whether none was left in time."""
    deadline = time.monotonic() + within_s
    while found := {pid for pid in _pids() if pid != os.getpid() and _is_marked(pid, mark.encode())}:
        if time.monotonic() > deadline:
            return False
        _signal_all(found, signal.SIGKILL)
        time.sleep(_POLL_S)
    return True


def reap() -> dict[int, int]:
    """Collect the children that have ended: pid → wait status."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended[pid] = status


def _children(parent: int) -> set[int]:
    """Return the children of a process, ended ones that nobody has collected among them."""
    return {pid for pid in _pids() if _parent(pid)[0] == parent}


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False  # it has just ended, or is somebody else's


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> tuple[int, bool]:
    """Return a process' parent, 0 if it is gone, and whether it still lives."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent = file.read().rpartition(b") ")[2].split()[:2]
    except (OSError, ValueError):
        return 0, False  # it has just ended
    return int(parent), state not in (b"Z", b"X")


def _signal_all(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it has ended, or has become somebody else's


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

"""How the keeper answers what the node asks of it: to park processes in cgroups, to set limits, to free a place.

The node is the neighbour of hostile code and may have become hostile itself, while the keeper may be the host's root.
So only processes of the node's own pid namespace are parked, and no request ends or holds up the keeper.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from modicum.runtimes.base import Limits

from . import control
from .cgroups import Slots

JOBS_MAX = 512
"""How many requests wait at once, each with a descriptor: half of what a process usually may open."""

SEND_S = 5
"""A node that takes no answer for so long is broken, and is replaced."""

_SLOT_DIGITS_MAX = 10
_LIMIT_MAX = 1 << 62
_ERROR_CHARACTERS_MAX = 1000


class Worker:
    """One thread for what takes long, so that writing a limit never waits behind it."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="cgroups", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], None]) -> None:
        """Do it when everything before it is done."""
        self._jobs.put(job)

    @property
    def is_busy(self) -> bool:
        """Whether it has as much to do as it takes on."""
        return self._jobs.qsize() >= JOBS_MAX

    def close(self) -> None:
        """Return when everything is done."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Desk:
    """Answers the requests about cgroups of the node whose processes are in the pid namespace `namespace`."""

    def __init__(
        self, end: socket.socket, slots: Slots, has_cgroups: bool, worker: Worker, namespace: str | None
    ) -> None:
        self.end = end
        self.failure = ""
        """Why the node says that it cannot work."""
        self.uses = self.network = ""
        """Which runtime it says that it uses, and why; and what it says of the network."""
        self._slots = slots
        self._has_cgroups = has_cgroups
        self._worker = worker
        self._namespace = namespace
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0))

    def tell(self, message: control.Message) -> None:
        """Send news; a node that is gone needs none, and one that does not listen is hung up on."""
        try:
            control.send(self.end, message)
        except BlockingIOError:
            self.end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def answer(self) -> bool:
        """Take one request; False when the node has hung up."""
        try:
            received = control.receive(self.end)
        except control.Malformed:
            return True  # there is nothing to answer to
        except OSError:
            return False
        if received is None:
            return False
        message, descriptors = received
        _close(descriptors[1:])
        if message.get("op") == "failed":
            self.failure = str(message.get("why"))[:_ERROR_CHARACTERS_MAX]
        elif message.get("op") == "ready":
            self.uses, self.network = (str(message.get(name))[:_ERROR_CHARACTERS_MAX] for name in ("uses", "network"))
        elif message.get("op") not in ("park", "free"):
            self._perform(message, descriptors[:1])
        elif self._worker.is_busy:
            _close(descriptors[:1])
            self._reply(message, {"error": f"{JOBS_MAX} requests are waiting already"})
        else:
            self._worker.do(lambda: self._perform(message, descriptors[:1]))
        return True

    def _perform(self, message: control.Message, descriptors: list[int]) -> None:
        try:
            self._reply(message, self._act(message, descriptors))
        except Exception as failure:  # noqa: BLE001 - whatever comes, the keeper lives on
            self._reply(message, {"error": f"{type(failure).__name__}: {failure}"[:_ERROR_CHARACTERS_MAX]})
        finally:
            _close(descriptors)

    def _reply(self, message: control.Message, answer: control.Message) -> None:
        number = message.get("r")
        self.tell({**answer, "r": number if isinstance(number, int) else None})

    def _act(self, message: control.Message, descriptors: list[int]) -> control.Message:
        slot = _slot(message["slot"])
        match message["op"]:
            case "usage":
                return dataclasses.asdict(self._slots.measure(slot))
            case "free":
                self._slots.remove(slot)
            case "park" if self._has_cgroups:
                self._park(slot, descriptors[0])
            case "limit" if self._has_cgroups:
                pids, memory_bytes = (_whole(_limit(message[name])) for name in ("pids", "memory_bytes"))
                cpus, share = (_limit(message[name]) for name in ("cpus", "cpus_share"))
                self._slots.limit(slot, Limits(pids, memory_bytes, cpus, share))
        return {}

    def _park(self, slot: str, pidfd: int) -> None:
        """A cgroup takes a number, which may name another process by then: so look again afterwards."""
        pid = _pid_of(pidfd)
        if self._namespace is None or pid_namespace(pid) != self._namespace:
            raise PermissionError("the process to be parked is not the node's")
        try:
            self._slots.park(slot, pid)
        finally:
            if not _lives(pidfd):  # while it does its number is its own
                self._slots.expel(slot, pid)


def pid_namespace(pid: int) -> str | None:
    """Return the name of a process' pid namespace; None if it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def _slot(value: object) -> str:
    """Return a slot's name: a number, so that it names no other directory."""
    if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _SLOT_DIGITS_MAX):
        raise ValueError("a slot is a number")
    return str(int(value))


def _limit(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LIMIT_MAX:
        raise ValueError("a limit is a number above 0, or none")
    return value


def _whole(limit: float | None) -> int | None:
    return None if limit is None else int(limit)


def _pid_of(pidfd: int) -> int:
    """Return the process id here, outside the node's namespace, of a process that the node names by descriptor."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "Pid" and int(value) > 0:
            return int(value)
    raise ProcessLookupError("the process to be parked has ended")


def _lives(pidfd: int) -> bool:
    try:
        return _pid_of(pidfd) > 0
    except OSError:
        return False


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

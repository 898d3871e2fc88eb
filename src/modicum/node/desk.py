"""How the keeper answers what the node asks of it: to park processes in cgroups, to set limits, to free a place."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from . import control
from .cgroups import Slots


class Worker:
    """One thread for what takes long, so that writing a limit never waits behind it."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="cgroups", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], None]) -> None:
        """Do it when everything before it is done."""
        self._jobs.put(job)

    def close(self) -> None:
        """Return when everything is done."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Desk:
    """Answers the node's requests about cgroups."""

    def __init__(self, end: socket.socket, slots: Slots, has_cgroups: bool, worker: Worker) -> None:
        self.end = end
        self._slots = slots
        self._has_cgroups = has_cgroups
        self._worker = worker

    def tell(self, message: control.Message) -> None:
        """Send news; a node that is gone needs none."""
        try:
            control.send(self.end, message)
        except OSError:
            pass

    def answer(self) -> bool:
        """Take one request; False when the node has hung up."""
        try:
            received = control.receive(self.end)
        except OSError:
            return False
        if received is None:
            return False
        message, descriptors = received
        if message.get("op") in ("park", "free"):
            self._worker.do(lambda: self._perform(message, descriptors))
        else:
            self._perform(message, descriptors)
        return True

    def _perform(self, message: control.Message, descriptors: list[int]) -> None:
        """Whatever comes, the keeper lives on: the node is the neighbour of hostile code."""
        number = message.get("r")
        try:
            self.tell({**self._act(message, descriptors), "r": number})
        except (OSError, ValueError, LookupError, TypeError) as failure:
            self.tell({"error": f"{type(failure).__name__}: {failure}", "r": number})
        finally:
            _close(descriptors)

    def _act(self, message: control.Message, descriptors: list[int]) -> control.Message:
        slot = str(int(message["slot"]))  # a number, so it names no other directory
        match message["op"]:
            case "oom":
                return {"oom": self._slots.ran_out_of_memory(slot)}
            case "free":
                self._slots.remove(slot)
            case "park" if self._has_cgroups:
                self._slots.park(slot, _pid_of(descriptors[0]))
            case "limit" if self._has_cgroups:
                self._slots.limit(slot, message["pids"], message["memory_bytes"], message["cpus"])
        return {}


def _pid_of(pidfd: int) -> int:
    """Return the process id here, outside the node's namespace, of a process that the node names by descriptor."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "Pid" and int(value) > 0:
            return int(value)
    raise ProcessLookupError("the process to be parked has ended")


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

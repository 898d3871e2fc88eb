"""What an OCI runtime needs made ready before a container: a parked process, its cgroup, its namespaces."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from modicum.runtimes.base import Limits, Usage


class Beside(Protocol):
    """A program that runs beside the parked process, in the same cgroup."""

    @property
    def pid(self) -> int:
        """Its process id, also that of its session; meaningless once it has ended."""

    async def wait(self) -> int:
        """Return the exit status as `subprocess` gives it, when it has ended."""


class Slot(Protocol):
    """One container's place. A shell is parked in it, already in its cgroup, and becomes the runtime's process.

    Moving a process into a cgroup takes 10 to 15 ms on cgroup v1, so it is done before anybody waits.
    """

    user_namespace: str
    """A path to it, which owns the network namespace."""

    network_namespace: str

    def limit(self, limits: Limits) -> Awaitable[None]:
        """Begin to set the limits; await the result before `run`."""

    def run(self, command: str) -> None:
        """Have the parked shell execute this one line. Raises `OSError` if it is gone."""

    async def run_beside(self, argv: tuple[str, ...], descriptors: tuple[int, int, int]) -> Beside:
        """Run another program of the node's in the cgroup. Raises `OSError`, also if the slot has been released."""

    async def wait(self) -> int:
        """Return the exit status of the parked process, as `subprocess` gives it, when it has ended."""

    def kill(self) -> None:
        """SIGKILL every process in the user namespace, and the parked process if there is none."""

    async def measure(self) -> Usage:
        """Return what the slot's processes have used."""

    async def release(self) -> None:
        """Give everything back; whatever still lives in it is killed."""


class SlotSource(Protocol):
    """Where slots come from."""

    async def take(self, network: bool) -> Slot:
        """Return a slot that is ready. Raises `RuntimeFailure` if none can be made."""

"""Where ready places for containers come from: parked processes in their cgroups, with namespaces, a few in stock.

Making one takes 20 to 30 ms, most of it the kernel's wait when a process changes its cgroup; taking one takes none.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
from collections import deque
from collections.abc import Awaitable

from modicum.runtimes.base import Limits, RuntimeFailure, Usage
from modicum.runtimes.oci.config import OOM_SCORE
from modicum.runtimes.process_usage import Census, usage_of

from .children import Child
from .control import Caller, Message, Refused

STOCK = min(16, max(4, 2 * (os.cpu_count() or 1)))
"""How many ready slots are kept: as many as start at once. A parked one costs a shell of 1 MB and two namespaces."""

CLOSED_STOCK = 4
"""So many without a network, once functions want those: one is used for each input where code is not trusted."""

REFILL_AFTER_S = 0.1
"""The stock is refilled once a start is over, not beside it, unless somebody waits."""

_SHELL = ("/bin/sh", "-c", 'read -r c && eval "exec $c"')


class ReadySlot:
    """One container's place; see `modicum.runtimes.oci.Slot`."""

    def __init__(self, pool: SlotPool, name: str, number: int | None, child: Child, stdin: int) -> None:
        self._pool = pool
        self._stdin = stdin
        self._child = child
        self._namespaces: tuple[int, ...] = ()
        self._identity = ""
        self._released = False
        self.name = name
        self.number = number
        self.user_namespace = ""
        self.network_namespace = ""

    def furnish(self, namespaces: tuple[int, ...]) -> None:
        """Take over the descriptors of the user and the network namespace. Raises `OSError` if they did not come."""
        if len(namespaces) != 2:
            for descriptor in namespaces:
                os.close(descriptor)
            raise OSError("the namespaces were lost on the way; are there too many open files?")
        self._namespaces = namespaces
        self.user_namespace, self.network_namespace = (f"/proc/{os.getpid()}/fd/{number}" for number in namespaces)
        self._identity = os.readlink(self.user_namespace)

    @property
    def is_alive(self) -> bool:
        """Whether the parked process still waits."""
        return not self._child.ended.done()

    @property
    def child(self) -> Child:
        """The parked process."""
        return self._child

    def limit(self, limits: Limits) -> Awaitable[None]:
        """Begin to set the limits; await the result."""
        return self._pool.tell_keeper({"op": "limit", "slot": self.name, **dataclasses.asdict(limits)})

    def run(self, command: str) -> None:
        """Have the parked shell execute this line."""
        if "\n" in command:
            raise OSError("a command is one line")
        try:
            os.write(self._stdin, command.encode() + b"\n")
        finally:
            self._close_stdin()

    async def run_beside(self, argv: tuple[str, ...], descriptors: tuple[int, int, int]) -> Child:
        """Run another program in the cgroup. A shell waits at a gate until it is there, and becomes the program."""
        if self._released:
            raise OSError("the container has ended")
        gate, opener = os.pipe2(os.O_CLOEXEC)
        try:
            child = Child(_at_gate(argv, descriptors, gate))
        except BaseException:
            os.close(opener)
            raise
        finally:
            os.close(gate)
        try:
            await self._pool.tell_keeper({"op": "park", "slot": self.name}, (child.pidfd,))
            os.write(opener, b"\n")
        except BaseException:
            child.kill()
            raise
        finally:
            os.close(opener)
        return child

    async def wait(self) -> int:
        """Return the process' exit status when it has ended."""
        return await self._child.wait()

    def kill(self) -> None:
        """SIGKILL every process in the user namespace; the parked process itself if there is none."""
        if not kill_namespace(self._identity):
            self._child.kill()

    async def measure(self) -> Usage:
        """Return what the slot's processes have used."""
        try:
            answer, _ = await self._pool.keeper.ask({"op": "usage", "slot": self.name})
        except (Refused, ConnectionError):
            return Usage()
        counted = Usage(**{each.name: answer[each.name] for each in dataclasses.fields(Usage)})
        if counted.cpu_s is None or counted.memory_bytes is None:
            counted = counted.completed_by(await self._look())
        return counted

    async def _look(self) -> Usage:
        """Return what can be seen without a cgroup; in a thread, since there may be thousands of processes."""
        if self._child.ended.done():
            return self._child.used
        found = await self._pool.census.take()
        return await asyncio.to_thread(usage_of, found.get(self._identity, set()))

    async def release(self) -> None:
        """End what is left, close the namespaces, remove the cgroup. Harmless when repeated."""
        if self._released:
            return
        self._released = True
        self._close_stdin()
        if self.is_alive:
            self._child.kill()
            await self._child.wait()
        for descriptor in self._namespaces:
            os.close(descriptor)
        self._pool.forget(self)

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1


class SlotPool:
    """The stock. `keeper` moves processes into cgroups, `helper` makes namespaces; `size` bounds the addresses."""

    def __init__(self, keeper: Caller, helper: Caller, size: int) -> None:
        self.keeper = keeper
        self.census = Census(_by_namespace)
        self._helper = helper
        self._free_numbers: deque[int] = deque(range(size))
        self._stock: deque[ReadySlot] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._closed_taken = 0
        self._closed_stock: deque[ReadySlot] = deque()
        self._closed_making: set[asyncio.Task[None]] = set()
        self._freeing: set[asyncio.Future[None]] = set()
        self._waiters: deque[asyncio.Future[ReadySlot]] = deque()
        self._count = 0
        self._closed = False
        self._refill: asyncio.TimerHandle | None = None

    async def take(self, network: bool) -> ReadySlot:
        """Return a ready slot. Raises `RuntimeFailure`."""
        self._schedule_refill()
        ready = await self._take_ready(self._stock if network else self._closed_stock)
        if not network:
            self._closed_taken += 1
            return ready or await self._make(None)
        if ready is not None:
            return ready
        waiter: asyncio.Future[ReadySlot] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self.fill()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._stock.append(waiter.result())
            raise

    async def _take_ready(self, stock: deque[ReadySlot]) -> ReadySlot | None:
        while stock:
            slot = stock.popleft()
            if slot.is_alive:
                return slot
            await slot.release()
        return None

    def fill(self) -> None:
        """Begin to make as many as are missing."""
        self._refill = None
        self._fill_closed()
        wanted = STOCK + len(self._waiters) - len(self._stock) - len(self._making)
        for _ in range(0 if self._closed else min(wanted, len(self._free_numbers))):
            task = asyncio.ensure_future(self._make_one())
            self._making.add(task)  # cancelled by close()
            task.add_done_callback(self._making.discard)

    def _fill_closed(self) -> None:
        """The first is the node's own: it compiles our code in one. Only then is one taken for a function."""
        kept = min(self._closed_taken - 1, CLOSED_STOCK)
        for _ in range(0 if self._closed else kept - len(self._closed_stock) - len(self._closed_making)):
            task = asyncio.ensure_future(self._make_closed())
            self._closed_making.add(task)  # cancelled by close()
            task.add_done_callback(self._closed_making.discard)

    async def _make_closed(self) -> None:
        try:
            self._closed_stock.append(await self._make(None))
        except (RuntimeFailure, OSError):
            pass  # who wants one is told, or has more luck

    def tell_keeper(self, message: Message, descriptors: tuple[int, ...] = ()) -> Awaitable[None]:
        """Send the keeper a request now; await that it was done. Raises `OSError` if not."""
        asked = self.keeper.ask(message, descriptors)

        async def done() -> None:
            try:
                await asked
            except Refused as refusal:
                raise OSError(str(refusal)) from refusal

        return done()

    def forget(self, slot: ReadySlot) -> None:
        """Have the keeper remove the cgroup; the address is free again after that."""
        freeing = asyncio.ensure_future(self._free(slot))
        self._freeing.add(freeing)  # awaited by close()
        freeing.add_done_callback(self._freeing.discard)

    async def close(self) -> None:
        """Give back everything that is in stock."""
        self._closed = True
        if self._refill is not None:
            self._refill.cancel()
        making = [*self._making, *self._closed_making]
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)
        for stock in (self._stock, self._closed_stock):
            while stock:
                await stock.pop().release()
        await asyncio.gather(*self._freeing, return_exceptions=True)

    def _schedule_refill(self) -> None:
        if self._refill is not None:
            self._refill.cancel()
        self._refill = asyncio.get_running_loop().call_later(REFILL_AFTER_S, self.fill)

    async def _make_one(self) -> None:
        try:
            slot = await self._make(self._free_numbers.popleft())
        except (RuntimeFailure, OSError) as failure:
            if self._waiters:
                self._waiters.popleft().set_exception(RuntimeFailure(str(failure)))
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        self._stock.append(slot)

    async def _make(self, number: int | None) -> ReadySlot:
        self._count += 1
        name = f"{self._count}"
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        process = subprocess.Popen(_SHELL, stdin=read_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read_end)
        slot = ReadySlot(self, name, number, Child(process), write_end)
        try:
            parked = self.keeper.ask({"op": "park", "slot": name}, (slot.child.pidfd,))
            made = self._helper.ask({"number": number})
            results = await asyncio.gather(parked, made, return_exceptions=True)
            if not isinstance(results[1], BaseException):
                slot.furnish(tuple(results[1][1]))
            for result in results:
                if isinstance(result, BaseException):
                    raise RuntimeFailure(f"no place for a container: {result}") from result
        except BaseException:
            await slot.release()
            raise
        return slot

    async def _free(self, slot: ReadySlot) -> None:
        try:
            await self.keeper.ask({"op": "free", "slot": slot.name})
        except (Refused, ConnectionError):
            pass  # the keeper sweeps when the node ends
        if slot.number is not None:
            self._free_numbers.append(slot.number)


def _at_gate(argv: tuple[str, ...], descriptors: tuple[int, int, int], gate: int) -> subprocess.Popen[bytes]:
    """Start a shell, in a session of its own, that becomes the program when a line comes through the gate.

    What it executes in the container inherits its score; the runtime sets none.
    """
    stdin, stdout, stderr = descriptors
    shell = (
        "/bin/sh",
        "-c",
        f'read -r c </proc/self/fd/{gate} && echo {OOM_SCORE} >/proc/self/oom_score_adj && exec "$@"',
        "sh",
    )
    return subprocess.Popen(
        [*shell, *argv], stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(gate,), start_new_session=True
    )


def kill_namespace(identity: str) -> int:
    """SIGKILL every process whose user namespace is `identity` (`user:[…]`); return how many there were.

    All processes of a container are there, and they cannot leave it. Runs until no new one is found, since one may have
    forked in between; a killed one stays visible until it is reaped.
    """
    killed: set[int] = set()
    while identity and (pids := _processes_in(identity) - killed):
        for pid in sorted(pids):  # its init first, which is the oldest: or another could still end it by itself, well
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        killed |= pids
    return len(killed)


def _processes_in(identity: str) -> set[int]:
    return _by_namespace().get(identity, set())


def _by_namespace() -> dict[str, set[int]]:
    """Return all processes, by their user namespace."""
    found: dict[str, set[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            found.setdefault(os.readlink(f"/proc/{name}/ns/user"), set()).add(int(name))
        except OSError:
            continue  # it has ended, or is ending
    return found

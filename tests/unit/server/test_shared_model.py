"""Dicts and queues beside a model of a few lines: whatever is asked, in any order, over lost peers and servers."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from modicum.server import queue_line
from modicum.stores.database import Database
from modicum.stores.dicts import KEPT_S
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import USER
from tests.unit.server.parts import Wire
from tests.unit.server.shared_world import Clock, World, new_request

KEYS = st.sampled_from([b"a", b"b", b"c"])
PARTITIONS = st.sampled_from([None, "p"])
EMPTY: list[Path] = []


class Machine(RuleBasedStateMachine):
    """A world on a loop of its own."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.clock = Clock().install(self.patch)
        self.patch.setattr(queue_line, "ITEMS_MAX", 6)
        # Nobody loses power here: a disk in memory need not be waited for.
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        if not EMPTY:
            EMPTY.append(Path(tempfile.mkdtemp()) / "store.db")
            Database(f"sqlite:///{EMPTY[0]}").close()
        shutil.copy(EMPTY[0], Path(self.folder.name) / "store.db")
        self.runner = asyncio.Runner()
        self.world = World(Path(self.folder.name))
        self.do(self.world.begin())
        self.id: str = self.do(self.world.make(self.kind, "x"))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.do(self.world.end())
        self.runner.close()
        self.folder.cleanup()
        self.patch.undo()

    @rule()
    def kill(self) -> None:
        self.do(self.world.kill())


class Dicts(Machine):
    """A dict beside a dict."""

    kind = "dict"

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[bytes, tuple[bytes, float]] = {}
        self.last: tuple[Any, Any] | None = None

    def there(self) -> dict[bytes, bytes]:
        return {key: value for key, (value, used) in self.model.items() if used > self.clock.now - KEPT_S}

    def use(self, key: bytes) -> None:
        if key in self.there():
            self.model[key] = self.model[key][0], self.clock.now

    @rule(entries=st.dictionaries(KEYS, st.binary(max_size=3), min_size=1), skip=st.booleans())
    def update(self, entries: dict[bytes, bytes], skip: bool) -> None:
        request = new_request()
        before = self.there()
        created = self.do(self.world.update(self.id, entries, skip=skip, request=request))
        set_ = {key: value for key, value in entries.items() if not (skip and key in before)}
        self.model.update({key: (value, self.clock.now) for key, value in set_.items()})
        assert created == bool(set_)
        self.last = lambda: self.world.update(self.id, entries, skip=skip, request=request, again=True), created

    @rule(key=KEYS)
    def pop(self, key: bytes) -> None:
        request, expected = new_request(), self.there().get(key)
        assert self.do(self.world.pop(self.id, key, request=request)) == expected
        self.model.pop(key, None)
        self.last = lambda: self.world.pop(self.id, key, request=request, again=True), expected

    @precondition(lambda self: self.last is not None)
    @rule(killed=st.booleans())
    def ask_again(self, killed: bool) -> None:
        if killed:
            self.kill()
        assert self.last is not None
        assert self.do(self.last[0]()) == self.last[1]

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        assert self.do(self.world.value(self.id, key)) == self.there().get(key)
        self.use(key)

    @rule()
    def clear(self) -> None:
        self.do(self.world.ask({"t": "dict.clear", "dict": self.id, "request": new_request()}))
        self.model = {}

    @rule()
    def entries(self) -> None:
        assert self.do(self.world.entries(self.id)) == self.there()
        assert self.do(self.world.count(self.id)) == len(self.there())
        for key in list(self.model):
            self.use(key)

    @rule(share=st.sampled_from([0.4, 1.1]))
    def wait(self, share: float) -> None:
        self.clock.now += KEPT_S * share
        self.last = None  # nobody comes back after days
        self.do(self.world.parts.dicts.expire())


@dataclass(eq=False)
class Given:
    """Items that are on their way. Those that a killed server gave do not come back to the queue."""

    request: str
    partition: str | None
    items: list[bytes]
    channel: Wire
    expires_at: float
    is_old: bool = False


class Queues(Machine):
    """A queue beside lists, takers that may be lost, and waiters."""

    kind = "queue"

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str | None, list[bytes]] = {None: [], "p": []}
        self.until: dict[str | None, float] = {None: 0.0, "p": 0.0}
        self.numbers = 0
        self.given: list[Given] = []
        self.waiters: list[tuple[str | None, asyncio.Task[list[bytes]], Wire]] = []

    def items(self, partition: str | None) -> list[bytes]:
        if self.until[partition] <= self.clock.now:
            self.model[partition] = []
        return self.model[partition]

    def serve(self, partition: str | None) -> None:
        """Whoever waits has got the first items, in the order of waiting."""
        for waiter in [each for each in self.waiters if each[0] == partition]:
            if not self.model[partition]:
                break
            self.waiters.remove(waiter)
            assert self.do(_result(waiter[1])) == [self.model[partition].pop(0)]

    @rule(partition=PARTITIONS, count=st.integers(1, 4), ttl_s=st.sampled_from([5, 50]))
    def put(self, partition: str | None, count: int, ttl_s: int) -> None:
        there = self.items(partition)
        new = [b"%d" % (self.numbers + number) for number in range(count)]
        self.numbers += count
        put = self.world.put(self.id, new, partition=partition, ttl_s=ttl_s)
        if len(there) + count > 6:
            with pytest.raises(RemoteFailure, match="of the 6"):
                self.do(put)
            return
        self.do(put)
        there += new
        self.until[partition] = self.clock.now + ttl_s
        self.serve(partition)

    @rule(partition=PARTITIONS, count=st.integers(1, 3), receive=st.booleans())
    def get(self, partition: str | None, count: int, receive: bool) -> None:
        there, request, channel = self.items(partition), new_request(), Wire(USER)
        expected, there[:] = there[:count], there[count:]
        got = self.world.get(self.id, count, channel, receive, partition=partition, request=request)
        assert self.do(got) == expected
        if expected and not receive:
            self.given.append(Given(request, partition, expected, channel, self.until[partition]))

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        given = data.draw(st.sampled_from(self.given))
        self.given.remove(given)
        self.do(self.world.lose(given.channel))
        there = self.items(given.partition)
        if given.expires_at > self.clock.now and not given.is_old:
            if not there:
                self.until[given.partition] = given.expires_at
            self.model[given.partition] = sorted([*given.items, *there], key=int)
            self.serve(given.partition)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), killed=st.booleans())
    def come_back(self, data: st.DataObject, killed: bool) -> None:
        if killed:
            self.kill()
        given = data.draw(st.sampled_from(self.given))
        self.given.remove(given)
        fields: dict[str, Any] = {"partition": given.partition, "request": given.request, "again": True}
        assert self.do(self.world.get(self.id, 9, Wire(USER), **fields)) == given.items

    @rule(partition=PARTITIONS)
    def begin_to_wait(self, partition: str | None) -> None:
        channel = Wire(USER)
        there = self.items(partition)

        async def begin() -> asyncio.Task[list[bytes]]:
            waiter = asyncio.ensure_future(self.world.get(self.id, 1, channel, wait_s=None, partition=partition))
            await asyncio.sleep(0)
            await self.world.settle()
            return waiter

        waiter = self.do(begin())
        if there:
            assert self.do(_result(waiter)) == [there.pop(0)]
        else:
            self.waiters.append((partition, waiter, channel))

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def stop_waiting(self, data: st.DataObject) -> None:
        each = data.draw(st.sampled_from(self.waiters))
        self.waiters.remove(each)
        self.do(_cancel(each[1]))
        self.do(self.world.lose(each[2]))

    @rule()
    def kill(self) -> None:
        for _, waiter, _ in self.waiters:
            self.do(_cancel(waiter))
        self.waiters = []
        for given in self.given:
            given.is_old = True
        super().kill()

    @rule(partition=PARTITIONS)
    def look(self, partition: str | None) -> None:
        there = self.items(partition)
        assert self.do(self.world.shown(self.id, partition)) == there
        assert self.do(self.world.length(self.id, partition)) == len(there)

    @rule()
    def clear_all(self) -> None:
        clear = {"t": "queue.clear", "queue": self.id, "partition": None, "request": new_request(), "all": True}
        self.do(self.world.ask(clear))
        self.model, self.given = {None: [], "p": []}, []

    @rule(seconds=st.sampled_from([1, 10]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.do(self.world.parts.queues.expire())
        self.do(self.world.settle())


async def _result(waiter: asyncio.Task[list[bytes]]) -> list[bytes]:
    return await waiter


async def _cancel(waiter: asyncio.Task[list[bytes]]) -> None:
    waiter.cancel()
    await asyncio.wait([waiter])


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
OPTIONS = settings(max_examples=8, stateful_step_count=30, deadline=None, suppress_health_check=QUIET)

TestDicts = Dicts.TestCase
TestDicts.settings = OPTIONS
TestQueues = Queues.TestCase
TestQueues.settings = OPTIONS

"""Who puts and takes what in queues? Everything is committed before it is answered; who waits is woken, never polled.

A take has an end that both sides know of: its items leave the queue with the commit, are kept under the name of the
request, and are gone when whoever took them says that he has them, before his `get` returns. If his connection ends
before that, they are put back where they were, unless he comes back for them. After a killed server they wait for him;
they are not put back then, because he may have them: his word may have died with the server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

from modicum.server.objects import Objects, SharedObject
from modicum.server.queue_line import Decision, Phase, Put, QueueLines, Take
from modicum.server.requests import Requests
from modicum.stores import objects as stored_objects
from modicum.stores import queues as stored
from modicum.stores.database import Database
from modicum.stores.objects import Answer
from modicum.stores.queues import Taken
from modicum.wire.channel import Channel, RemoteFailure

log = logging.getLogger("modicum.queues")

LINES_IN_MEMORY_MAX = 200_000
"""Of so many partitions it is known how much is in them; queues that were not used for long are read again."""

HELD_BYTES_MAX = 256 << 20
"""So much may be on its way into all queues, or wait for room in them: it is in memory meanwhile."""

SHOWN_AT_ONCE = 1000
"""So many items are shown by one answer at most."""

NOTHING = Taken([], [], b"")


class Queue:
    """One queue while it is in use."""

    def __init__(self, of: SharedObject) -> None:
        self.of = of
        self.lines: QueueLines | None = None
        self.waiting = QueueLines([], iter(()))  # what waits for the partitions to be read
        self.failure: Exception | None = None
        self.clears: list[tuple[str, asyncio.Future[None]]] = []
        self.received: list[str] = []
        self.watchers: dict[bytes, set[asyncio.Future[None]]] = {}
        self.working: asyncio.Future[Any] | None = None

    @property
    def desk(self) -> QueueLines:
        """Where requests are handed in."""
        return self.waiting if self.lines is None else self.lines

    @property
    def is_idle(self) -> bool:
        """Whether it can be read again without anybody noticing."""
        return self.working is None and self.desk.is_quiet and not (self.clears or self.watchers)


class Queues:
    """All queues in use."""

    def __init__(self, database: Database, objects: Objects, requests: Requests, grace_s: float) -> None:
        self._database = database
        self._objects = objects
        self._requests = requests
        self._grace_s = grace_s
        self._queues: OrderedDict[str, Queue] = OrderedDict()
        self._given: dict[str, tuple[Queue, Take]] = {}
        self._by_channel: dict[Channel, set[str]] = {}
        self._open_requests: dict[str, tuple[Queue, Put | Take]] = {}
        self._numbers = count()
        self._held_bytes = 0
        objects.on_gone.append(self._gone)
        requests.awaited = lambda: self._given  # whoever has them has not said so, and is still there

    async def restore(self) -> None:
        """Number items behind those that there are, and behind those that there have been."""
        last = await self._database.submit(stored_objects.last_number)
        self._numbers = count(max(last, time.time_ns() // 1000) + 1)

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Have so many bytes in memory, on their way into a queue. Raises `RemoteFailure` if that is too much."""
        if self._held_bytes and self._held_bytes + size > HELD_BYTES_MAX:
            raise RemoteFailure("resource_exhausted", f"{self._held_bytes >> 20} MiB wait for room in queues already")
        self._held_bytes += size
        try:
            yield
        finally:
            self._held_bytes -= size

    # -- what is asked ---------------------------------------------------------------------------------------

    async def put(
        self,
        of: SharedObject,
        request: str,
        partition: bytes,
        items: Sequence[bytes],
        ttl_s: float,
        wait_s: float | None,
    ) -> None:
        """Put items behind the others; all of them or none. Raises `RemoteFailure` if there is no room in that time."""
        put = Put(request, partition, items, ttl_s, wait_s != 0, asyncio.get_running_loop().create_future())
        queue = self._hand_in(of, put)
        if await self._ended(queue, put, wait_s):
            return await asyncio.shield(put.result)
        raise RemoteFailure("resource_exhausted", f"there was no room in the queue for {wait_s:g} s")

    async def put_again(self, request: str) -> bool:
        """Return whether this was put; waits if it is being put."""
        known = self._open_requests.get(request)
        if known is not None and known[1].phase is Phase.UNDER_WAY:
            await asyncio.shield(known[1].result)
            return True
        return await self._requests.recall(request) is not None

    async def take(
        self, of: SharedObject, request: str, partition: bytes, count: int, wait_s: float | None, channel: Channel
    ) -> Taken:
        """Take up to `count` items, as many as fit into an answer, waiting for the first; nothing if there is none."""
        take = Take(request, partition, count, wait_s != 0, asyncio.get_running_loop().create_future(), channel)
        queue = self._hand_in(of, take)
        if await self._ended(queue, take, wait_s):
            return await asyncio.shield(take.result)
        return NOTHING

    def _hand_in(self, of: SharedObject, asked: Put | Take) -> Queue:
        queue = self._open(of)
        self._open_requests[asked.request] = queue, asked
        asked.result.add_done_callback(lambda _: self._open_requests.pop(asked.request, None))
        if isinstance(asked, Put):
            queue.desk.put(asked)
        else:
            queue.desk.take(asked)
        self._go_on(queue)
        return queue

    async def _ended(self, queue: Queue, asked: Put | Take, wait_s: float | None) -> bool:
        """Return whether a request was begun in its time. It is given up if that, or its connection, ends before."""
        try:
            if not wait_s:  # what does not wait is told at once
                await asyncio.shield(asked.result)
            else:
                async with asyncio.timeout(wait_s):
                    await asyncio.shield(asked.result)
        except TimeoutError:
            if asked.phase is Phase.WAITING:
                self._give_up(queue, asked)
                return False
        except asyncio.CancelledError:
            if asked.phase is Phase.WAITING:
                self._give_up(queue, asked)
            raise
        return True

    async def take_again(self, of: SharedObject, request: str, channel: Channel) -> Taken | None:
        """Return what a request has taken that was lost on its way, None if it has taken nothing."""
        known = self._given.get(request)
        if known is not None:
            take = known[1]
            self._follow(known[0], take, channel)
            if take.phase is Phase.UNDER_WAY:
                return await asyncio.shield(take.result)
        answer = await self._requests.recall(request)
        if answer is None:
            return None
        told = json.loads(answer.answer)
        if known is None:
            partition = bytes.fromhex(told["partition"])
            take = Take(request, partition, len(told["sizes"]), False, None, channel, Phase.GIVEN)
            take.sizes, take.expires_at = told["sizes"], told["expires_at"]
            self._follow(self._open(of), take, channel)
        return Taken(told["numbers"], told["sizes"], answer.payload)

    def received(self, request: str, channel: Channel) -> None:
        """Whoever took items has them: they are gone."""
        known = self._given.get(request)
        if known is not None and known[1].channel is channel:
            self._unfollow(known[1])
            self._queues.get(known[0].of.id, known[0]).received.append(request)

    def give_back(self, request: str, channel: Channel) -> None:
        """Whoever asked does not want it any longer; what he was given meanwhile goes back."""
        waiting = self._open_requests.get(request)
        if waiting is not None and waiting[1].phase is Phase.WAITING:
            self._give_up(*waiting)
            return
        known = self._given.get(request)
        if known is not None and known[1].channel is channel:
            self._return(*known)

    async def clear(self, of: SharedObject, request: str, partition: bytes) -> None:
        """Empty a partition."""
        queue = self._open(of)
        result: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.desk.clear(partition, request, result)
        self._go_on(queue)
        await result

    async def clear_all(self, of: SharedObject, request: str) -> None:
        """Empty all partitions."""
        queue = self._open(of)
        result: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.clears.append((request, result))
        self._go_on(queue)
        await result

    async def count(self, of: SharedObject, partition: bytes) -> int:
        """Return how many items a partition has."""
        return (await self._known(of)).count(partition, time.time())

    async def total(self, of: SharedObject) -> tuple[int, int]:
        """Return how many partitions have items, and how many items there are."""
        return (await self._known(of)).total(time.time())

    async def following(self, of: SharedObject, partition: bytes, after: int, wait_s: float) -> Taken:
        """Return items behind a number, waiting for the first, and leave them where they are."""
        deadline = time.monotonic() + wait_s
        queue = self._open(of)
        while True:
            come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue.watchers.setdefault(partition, set()).add(come)
            try:
                found = NOTHING
                if (await self._known(of)).count(partition, time.time()):
                    query = stored.following(of.contents, partition, after, SHOWN_AT_ONCE)
                    found = await self._database.submit(query)
                left = deadline - time.monotonic()
                if found.numbers or left <= 0:
                    return found
                await asyncio.wait([come], timeout=left)
            finally:
                queue.watchers[partition].discard(come)
                if not queue.watchers[partition]:
                    del queue.watchers[partition]

    # -- connections that end ----------------------------------------------------------------------------------

    def left(self, channel: Channel) -> None:
        """A connection has ended: what was given to it goes back in a moment, unless somebody comes back for it."""
        for request in list(self._by_channel.get(channel, ())):
            queue, take = self._given[request]
            asyncio.get_running_loop().call_later(self._grace_s, self._return_unless_followed, queue, take, channel)

    def _return_unless_followed(self, queue: Queue, take: Take, channel: Channel) -> None:
        if take.channel is channel and take.request in self._given:
            self._return(queue, take)

    def _return(self, queue: Queue, take: Take) -> None:
        if take.phase is Phase.UNDER_WAY:
            take.phase = Phase.OVER  # it goes back when it comes out of the store
            return
        self._unfollow(take)
        if take.phase is Phase.GIVEN and not queue.of.gone.is_set():
            present = self._open(queue.of)  # it may have been read again since
            present.desk.give_back(take)
            self._go_on(present)

    def _follow(self, queue: Queue, take: Take, channel: Channel) -> None:
        self._unfollow(take)
        take.channel = channel
        self._given[take.request] = queue, take
        self._by_channel.setdefault(channel, set()).add(take.request)

    def _unfollow(self, take: Take) -> None:
        self._given.pop(take.request, None)
        theirs = self._by_channel.get(take.channel)
        if theirs is not None:
            theirs.discard(take.request)
            if not theirs:
                del self._by_channel[take.channel]

    # -- the work ------------------------------------------------------------------------------------------------

    def _open(self, of: SharedObject) -> Queue:
        if of.gone.is_set():
            raise _deleted(of)
        queue = self._queues.get(of.id)
        if queue is None:
            queue = self._queues[of.id] = Queue(of)
        self._queues.move_to_end(of.id)
        return queue

    async def _known(self, of: SharedObject) -> QueueLines:
        queue = self._open(of)
        while queue.lines is None:
            self._go_on(queue)
            if queue.working is not None:
                await asyncio.wait([queue.working])
            if of.gone.is_set():
                raise _deleted(of)
            if queue.failure is not None:
                raise queue.failure
        return queue.lines

    def _give_up(self, queue: Queue, asked: Put | Take) -> None:
        queue.desk.forget(asked)
        _resolve(asked.result, NOTHING)
        self._go_on(queue)

    def _go_on(self, queue: Queue) -> None:
        """Begin what can be done, unless something is being done: its end comes back here.

        By callbacks: a task for each would cost as much again.
        """
        while queue.working is None and not queue.of.gone.is_set():
            try:
                begun = self._begin(queue)
            except Exception as error:  # noqa: BLE001 - a fault of ours: everybody who waits is told
                self._end(queue, error)
                return
            if begun is None:
                return
            if not begun.done():
                queue.working = begun
                begun.add_done_callback(partial(self._ended_work, queue))

    def _ended_work(self, queue: Queue, ended: asyncio.Future[Any]) -> None:
        queue.working = None
        error = ended.exception()
        if error is not None:  # the store cannot be read: everybody who waits is told
            assert isinstance(error, Exception)
            self._end(queue, error)
        else:
            self._go_on(queue)

    def _begin(self, queue: Queue) -> asyncio.Future[Any] | None:
        """Begin the next piece of work; None if there is none."""
        if queue.lines is None:
            return asyncio.ensure_future(self._read(queue))
        if queue.clears:
            return asyncio.ensure_future(self._clear_all(queue))
        decision = queue.lines.decide(time.time())
        self._tell_at_once(decision)
        if not decision.work:
            queue.received += decision.work.received
            return None
        return self._perform(queue, decision)

    async def _read(self, queue: Queue) -> None:
        partitions = await self._database.submit(stored.partitions(queue.of.contents))
        lines = QueueLines(partitions, self._numbers)
        lines.take_over(queue.waiting)
        queue.lines, queue.waiting = lines, QueueLines([], iter(()))
        self._forget_unused()

    def _forget_unused(self) -> None:
        known = sum(len(each.lines.lines) for each in self._queues.values() if each.lines is not None)
        for queue in list(self._queues.values()):
            if known <= LINES_IN_MEMORY_MAX:
                return
            if queue.is_idle and queue.lines is not None:
                known -= len(queue.lines.lines)
                del self._queues[queue.of.id]

    async def _clear_all(self, queue: Queue) -> None:
        assert queue.lines is not None
        request, result = queue.clears.pop(0)
        try:
            await self._objects.renew(queue.of, Answer(request, time.time(), "{}"))
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            _fail(result, error)
            return
        empty = QueueLines([], self._numbers)
        empty.take_over(queue.lines)
        queue.lines = empty
        for theirs, take in self._given.values():
            if theirs.of is queue.of:
                take.expires_at = 0.0  # what was given before does not come back
        _resolve(result, None)

    def _perform(self, queue: Queue, decision: Decision) -> asyncio.Future[Any]:
        work = decision.work
        work.received, queue.received = [*work.received, *queue.received[:1000]], queue.received[1000:]
        for take in decision.takes:
            self._follow(queue, take, take.channel)
        # What it ends with has been told when the queue goes on, also if it has failed.
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ending = self._database.submit(stored.work(queue.of.contents, work, time.time()))
        ending.add_done_callback(partial(self._performed, queue, decision, told))
        return told

    def _performed(
        self, queue: Queue, decision: Decision, told: asyncio.Future[None], ended: asyncio.Future[list[Taken]]
    ) -> None:
        error, lines = ended.exception(), queue.lines
        assert lines is not None
        if error is None:
            for take, what in zip(decision.takes, ended.result()):
                self._give(queue, lines, take, what)
            for put in decision.puts:
                put.phase = Phase.OVER
                _resolve(put.result, None)
                self._wake(queue, put.partition)
            for back in decision.returned:
                self._wake(queue, back.partition)
            for result in decision.cleared:
                _resolve(result, None)
        else:  # whoever asked is told; what is in the store is read again
            self._undo(queue, decision, error)
        told.set_result(None)

    def _give(self, queue: Queue, lines: QueueLines, take: Take, what: Taken) -> None:
        is_wanted = take.phase is Phase.UNDER_WAY
        lines.given(take, what)
        _resolve(take.result, what)
        if not is_wanted:
            self._return(queue, take)
        elif take.channel.closed:
            self.left(take.channel)

    def _wake(self, queue: Queue, partition: bytes) -> None:
        for come in queue.watchers.get(partition, ()):
            _resolve(come, None)

    def _tell_at_once(self, decision: Decision) -> None:
        for put, why in decision.full:
            put.phase = Phase.OVER
            _fail(put.result, RemoteFailure("resource_exhausted", why))
        for take in decision.empty:
            take.phase = Phase.OVER
            _resolve(take.result, NOTHING)

    def _undo(self, queue: Queue, decision: Decision, error: BaseException) -> None:
        """The store failed: nothing of the work is done. What waits goes on with what is read anew."""
        for take in decision.takes:
            self._unfollow(take)
        begun: list[Put | Take] = [*decision.puts, *decision.takes]
        for each in begun:
            each.phase = Phase.OVER
            _fail(each.result, error)
        for result in decision.cleared:
            _fail(result, error)
        assert queue.lines is not None
        queue.waiting, queue.lines = queue.lines, None

    def _end(self, queue: Queue, error: Exception) -> None:
        queue.failure = error
        for each in queue.desk.everybody():
            queue.desk.forget(each)
            _fail(each.result, error)
        for _, result in queue.clears:
            _fail(result, error)
        queue.clears = []
        self._queues.pop(queue.of.id, None)

    def _gone(self, of: SharedObject) -> None:
        """An object was deleted."""
        queue = self._queues.get(of.id)
        if queue is None:
            return
        for theirs, take in list(self._given.values()):
            if theirs is queue:
                self._unfollow(take)
        self._end(queue, _deleted(of))
        for partition in list(queue.watchers):
            self._wake(queue, partition)

    # -- housekeeping ----------------------------------------------------------------------------------------------

    async def expire(self) -> None:
        """Delete what is in partitions whose time is over."""
        for contents, partition in await self._database.submit(stored.expiring(time.time(), 10_000)):
            of = self._objects.having(contents)
            if of is not None:
                queue = self._open(of)
                queue.desk.look(partition)
                self._go_on(queue)


def _deleted(of: SharedObject) -> RemoteFailure:
    return RemoteFailure("not_found", f"the queue {of.id!r} was deleted")


def _resolve(result: Any, value: Any) -> None:
    if result is not None and not result.done():
        result.set_result(value)


def _fail(result: Any, error: BaseException) -> None:
    if result is not None and not result.done():
        result.set_exception(error)
        result.exception()  # whoever asked may be gone

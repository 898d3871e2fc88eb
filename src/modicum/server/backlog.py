"""Which spawned inputs are in memory, and which wait in the store alone?

The core has the head of each function's queue, the store all of it. A row without an output is in memory if its number
is not above `last`, and in the store alone, one of `waiting`, if it is. The store's one thread does what it is given in
order, and tells of it in that order; so what is known here is what the store was when it did the thing that is told of.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from modicum.server.controller import Controller
from modicum.server.core import events as ev
from modicum.server.deliveries import Deliveries
from modicum.server.records import Call, Output
from modicum.stores import calls as stored
from modicum.stores.calls import LoadedInput, StoredCall, StoredInput
from modicum.stores.database import Database
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import TERMINATED

log = logging.getLogger("modicum.backlog")

PENDING_MAX = 1_000_000
"""Spawned inputs of one function that may wait or run, as with Modal."""

DIRECT_MAX = 1000
"""While a function's queue is shorter, its new inputs go straight to the core; they need not be read again."""

LOAD_BYTES_MAX = 16 << 20
"""So much of inputs is read at once, and new ones do not go straight to the core while more of a function is there."""

LOAD_AGAIN_S = 1.0

ENDED = "its app has ended"

Arrived = Sequence[tuple[int, bytes, str | None]]
"""Inputs as they came: index, payload, blob."""

Provided = Callable[[Connection], bool]
"""A change of the store in whose transaction inputs are added; they are not, if it says that they shall not be."""


@dataclass(slots=True)
class _Queue:
    """A function's spawned inputs."""

    waiting: int = 0
    last: int = 0
    adding: int = 0  # on their way into the store
    loading: bool = False


@dataclass(slots=True)
class _Addition:
    """Inputs of one frame on their way into the store."""

    call: StoredCall
    rows: list[StoredInput]
    queue: _Queue
    stored: asyncio.Future[None]
    provided: Provided | None = None


class Backlog:
    """Takes spawned inputs in, and gives the core the oldest as it wants more. `app_of` finds a function's app."""

    def __init__(
        self,
        database: Database,
        deliveries: Deliveries,
        controller: Controller,
        app_of: Callable[[str], str | None],
        name_of: Callable[[str], str],
    ) -> None:
        self._database = database
        self._deliveries = deliveries
        self._controller = controller
        self._app_of = app_of
        self._name_of = name_of
        self._queues: dict[str, _Queue] = {}
        self._additions: list[_Addition] = []
        self._number = 0
        controller.on_load = self.load
        deliveries.on_surprise = self._surprise

    def restore(self, last_number: int, waiting: dict[str, int]) -> None:
        """Take up what the last server left in the store; the core asks for what it needs of it."""
        self._number = last_number
        gone = [function for function in waiting if self._app_of(function) is None]
        if gone:
            _ = self._terminate(gone)
        for function in waiting.keys() - set(gone):
            self._queues[function] = _Queue(waiting=waiting[function])
            self._tell(function)

    def pending(self, function: str) -> int:
        """Return how many spawned inputs of a function have no output."""
        queue = self._queues.get(function)
        known = 0 if queue is None else queue.waiting + queue.adding
        return known + self._deliveries.durable.get(function, 0)

    def waiting(self, function: str) -> int:
        """Return how many inputs of a function wait in the store alone."""
        queue = self._queues.get(function)
        return 0 if queue is None else queue.waiting

    # -- into the store --------------------------------------------------------------------------------------

    def add(self, call: StoredCall, arrived: Arrived, provided: Provided | None = None) -> asyncio.Future[None]:
        """Make inputs durable, then let them run. The future ends when they are stored; what comes together is stored
        together. With `provided`, one input is made durable together with what that changes, or not at all. Raises
        `RemoteFailure` if the function has too many.
        """
        function = call.function
        if self.pending(function) + len(arrived) > PENDING_MAX:
            raise RemoteFailure(
                "resource_exhausted",
                f"the function {self._name_of(function)} has {self.pending(function):,} spawned inputs that wait or "
                f"run, and {PENDING_MAX:,} is the most; spawn more when some of them have ended",
            )
        loop = asyncio.get_running_loop()
        if not self._additions:
            loop.call_soon(self._store)
        rows = [StoredInput(0, call.id, index, function, payload, blob) for index, payload, blob in arrived]
        addition = _Addition(call, rows, self._queue(function), loop.create_future(), provided)
        self._additions.append(addition)
        addition.queue.adding += len(rows)
        return addition.stored

    def _store(self) -> None:
        additions, self._additions = self._additions, []
        additions.sort(key=lambda each: each.provided is not None)  # numbered in the order in which they are stored
        self._deliveries.store()
        for addition in additions:
            addition.rows = [row._replace(number=self._next()) for row in addition.rows]
        plain = [addition for addition in additions if addition.provided is None]
        for group in ([plain] if plain else []) + [[addition] for addition in additions[len(plain) :]]:
            self._submit(group)

    def _submit(self, additions: list[_Addition]) -> None:
        rows = [row for addition in additions for row in addition.rows]
        change = stored.add([addition.call for addition in additions], rows)
        if additions[0].provided is not None:
            change = stored.provided(additions[0].provided, change, rows)
        future = self._database.submit(change)
        future.add_done_callback(partial(self._added, additions))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _added(self, additions: list[_Addition], future: asyncio.Future[set[tuple[str, int]]]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None and len(additions) > 1:  # the function of one of them is gone, perhaps
            for addition in additions:
                self._submit([addition])
            return
        for addition in additions:
            addition.queue.adding -= len(addition.rows)
            if error is None:
                self._take(addition.call, [r for r in addition.rows if (r.call, r.position) not in future.result()])
            _answer(addition.stored, error)

    def _take(self, call: StoredCall, rows: list[StoredInput]) -> None:
        """Inputs are in the store: give them to the core if those before them are there, and it has few."""
        function = call.function
        if not rows:
            return
        if self._app_of(function) is None:
            _ = self._terminate([function])
            return
        queue = self._queue(function)
        if self._goes_straight(function, queue):
            loaded = (
                LoadedInput(r.number, r.call, r.position, r.payload, r.blob, 0, call.method, call.parent) for r in rows
            )
            self._give(function, queue, loaded)
        else:
            queue.waiting += len(rows)
            self._tell(function)

    def _goes_straight(self, function: str, queue: _Queue) -> bool:
        if queue.waiting or queue.loading:
            return False
        short = self._controller.state.queued(function) < DIRECT_MAX
        return short and self._deliveries.durable_bytes.get(function, 0) < LOAD_BYTES_MAX

    # -- out of the store ------------------------------------------------------------------------------------

    def load(self, function: str, count: int) -> None:
        """The core wants more inputs of a function."""
        queue = self._queue(function)
        if queue.loading or self._app_of(function) is None:
            return
        queue.loading = True
        future = self._database.submit(stored.load(function, queue.last, count, LOAD_BYTES_MAX))
        future.add_done_callback(partial(self._loaded, function, count))

    def _loaded(self, function: str, count: int, future: asyncio.Future[list[LoadedInput]]) -> None:
        if future.cancelled():
            return
        queue = self._queues.get(function)
        if queue is None:
            return  # its app has ended meanwhile
        queue.loading = False
        if (error := future.exception()) is not None:
            log.error("inputs not loaded", extra={"function": function}, exc_info=error)
            asyncio.get_running_loop().call_later(LOAD_AGAIN_S, self.load, function, count)
            return
        rows = future.result()
        queue.waiting = max(queue.waiting - len(rows), 0) if rows else 0
        self._give(function, queue, rows)
        self._tell(function)

    def _give(self, function: str, queue: _Queue, rows: Iterable[LoadedInput]) -> None:
        keys, failures = [], []
        for row in rows:
            queue.last = row.number
            call = self._deliveries.calls.get(row.call)
            if call is None or not call.durable or call.function != function:  # somebody has guessed its id
                app = self._app_of(function) or ""
                call = Call(row.call, function, "spawn", "user", None, app, method=row.method, parent=row.parent)
                self._deliveries.open(call)
            key = self._deliveries.add(call, row.position, row.payload, row.blob)
            if key is not None:
                keys.append(key)
                failures.append(row.failures)
        if keys:
            self._controller.handle(ev.InputsArrived(function, tuple(keys), tuple(failures)))

    def _tell(self, function: str) -> None:
        self._controller.handle(ev.BacklogChanged(function, self._queue(function).waiting))

    def _queue(self, function: str) -> _Queue:
        queue = self._queues.get(function)
        if queue is None:
            queue = self._queues[function] = _Queue()
        return queue

    # -- endings ---------------------------------------------------------------------------------------------

    async def cancel(self, call: str, function: str, text: str) -> None:
        """Let all inputs of a call end that have no output."""
        self._deliveries.store()
        count = await self._database.submit(stored.terminate(stored.of_call(call), text, time.time()))
        # Those in memory are told of one by one; all others were in the store alone.
        in_memory = self._deliveries.calls.get(call)
        self._drop(function, count - (len(in_memory.open) if in_memory is not None else 0))
        self._deliveries.tell_waiters(call, Output(TERMINATED, text.encode(), None))

    def _surprise(self, key: str, function: str, output: stored.NewOutput) -> None:
        """An output came of an input that is not in memory: one in the store alone, if the last server gave it away."""
        future = self._database.submit(stored.finish([output], function))
        future.add_done_callback(partial(self._surprised, key, function, output))

    def _surprised(self, key: str, function: str, output: stored.NewOutput, future: asyncio.Future[int]) -> None:
        if future.cancelled() or future.exception() is not None or not future.result():
            return  # it is of a call that is not in the store, or there is one already
        if self._deliveries.drop_unclaimed(key):
            self._drop(function, 1)
            self._deliveries.tell_waiters(
                output.call,
                Output(output.status, output.payload, output.blob, plain=output.plain),
                output.position,
            )

    def _drop(self, function: str, count: int) -> None:
        queue = self._queues.get(function)
        if queue is not None and count > 0:
            queue.waiting = max(queue.waiting - count, 0)
            self._tell(function)

    def end(self, functions: Sequence[str], why: str) -> None:
        """These are gone, and with them whatever of them waited."""
        self._deliveries.store()
        _ = self._terminate(functions, why)
        for function in functions:
            self._queues.pop(function, None)
        self._deliveries.end(set(functions), Output(TERMINATED, why.encode(), None))

    def _terminate(self, functions: Sequence[str], why: str = ENDED) -> asyncio.Future[int]:
        return self._database.submit(stored.terminate(stored.of_functions(functions), why, time.time()))


def _answer(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(None)

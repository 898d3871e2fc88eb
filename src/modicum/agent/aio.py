"""How a container runs what is async: as tasks of one event loop, on the main thread, that stays up between inputs.

Sync methods of the same class run with the loop at rest, as with Modal, or on threads if several inputs run at once.
"""

from __future__ import annotations

import asyncio
import time

from modicum import _context
from modicum.agent import output
from modicum.agent.batching import Batch
from modicum.agent.endings import cancelled, failure, interrupted, piece_of
from modicum.agent.outputs import BATCH_S
from modicum.agent.running import Interruptible, run_one, success
from modicum.wire.messages import EXCEPTION, GENERATOR_DONE
from modicum.wire.values import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor
    from typing import Any

    from modicum.agent.loop import Agent, Input
    from modicum.agent.service import Service, Target


STOP_S = 5.0
"""What the user's code has left on the loop has so long to end, and what has been interrupted before the exit hooks."""


class Loop:
    """One container's event loop, and the inputs that run on it."""

    def __init__(self, agent: Agent, service: Service) -> None:
        self.agent = agent
        self.service = service
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._work = asyncio.Event()
        self._running: dict[str, _Run] = {}
        self._count = 0
        self._flushing = False
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> Callable[[], None]:
        """Run the hooks that come before all inputs; return what works until the agent is to exit."""
        self.service.enter(self._loop.run_until_complete)
        return self.work

    def work(self) -> None:
        """Run inputs until the agent is to exit, and the hooks at the end."""
        agent = self.agent
        agent.on_work = self._threadsafe(self._work.set)
        agent.on_stop = self._threadsafe(self._stop)
        agent.on_cancel = self._on_cancel
        while (item := self._loop.run_until_complete(self._serve())) is not None:
            target = self.service.target(item)
            agent.run_here(target.function, target.is_generator, item)
        self.service.leave(self._loop.run_until_complete)
        self._close()

    def _threadsafe(self, callback: Callable[[], None]) -> Callable[[], None]:
        def call() -> None:
            self._loop.call_soon_threadsafe(callback)

        return call

    def _close(self) -> None:
        """End what the user's code has left on the loop, as `asyncio.run` does."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=STOP_S))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self.agent.on_work = self.agent.on_stop = lambda: None
        self.agent.on_cancel = lambda key: None
        self._loop.close()

    # -- taking --------------------------------------------------------------------------------------------

    async def _serve(self) -> Input | None:
        """Run inputs. Return a sync one that is to run by itself, or None at the end."""
        while True:
            await self._until(lambda: self._count < self.service.limit or self.agent.at_once)
            items = await self._next()
            if not items:
                break
            target = self.service.target(items[0])
            if not target.is_async and self.service.limit == 1 and self.service.batching is None:
                return items[0]
            self._start(target, items)
        await self._until(lambda: not self._count or self.agent.at_once)
        if self._running:
            await asyncio.wait({run.task for run in self._running.values()}, timeout=STOP_S)
        return None

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._work.clear()
            if not condition():
                await self._work.wait()

    async def _next(self) -> list[Input]:
        """Return the next input or batch, nothing if the agent is to exit."""
        while (item := self.agent.take()) is None:
            if self.agent.exiting:
                return []
            self._work.clear()
            if not self.agent.has_work and not self.agent.exiting:
                await self._work.wait()
        items = [item]
        if self.service.batching is not None:
            await self._collect(items, self.service.batching)
        return items

    async def _collect(self, items: list[Input], batching: dict[str, Any]) -> None:
        until = time.monotonic() + batching["wait_ms"] / 1000
        while len(items) < batching["max_batch_size"]:
            self._work.clear()
            item = self.agent.take()
            if item is not None:
                items.append(item)
                continue
            left = until - time.monotonic()
            if left <= 0 or self.agent.exiting:
                return
            try:
                await asyncio.wait_for(self._work.wait(), left)
            except (TimeoutError, asyncio.TimeoutError):  # noqa: UP041 - two classes before Python 3.11
                return

    # -- running -------------------------------------------------------------------------------------------

    def _start(self, target: Target, items: list[Input]) -> None:
        run = _Run(self, target, items)
        for item in items:
            self._running[item[0]] = run
        self._count += 1
        run.task.add_done_callback(lambda task: self._ended(run))
        for item in items:
            if self.agent.is_cancelled(item[0]):  # since it was taken
                run.cancel(item[0])

    def _ended(self, run: _Run) -> None:
        for item in run.items:
            self._running.pop(item[0], None)
        self._count -= 1
        run.finish()
        if self.agent.has_unsent and not self._flushing:
            self._flushing = True
            self._loop.call_later(BATCH_S, self._flush)
        self._work.set()

    def _flush(self) -> None:
        self._flushing = False
        self.agent.flush()

    def in_thread(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run what blocks on a thread: there is one for each input that may run at once."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.service.limit, "modicum")
        return self._loop.run_in_executor(self._pool, function, *args)

    # -- ending early --------------------------------------------------------------------------------------

    def _on_cancel(self, key: str) -> None:
        self.agent.interrupt(key)  # if it is a sync one that runs by itself
        self._loop.call_soon_threadsafe(self._cancel, key)

    def _cancel(self, key: str) -> None:
        if key in self._running:
            self._running[key].cancel(key)

    def _stop(self) -> None:
        for run in list(self._running.values()):
            run.stop()
        self._work.set()


class _Run:
    """An input, or a batch, that is being run."""

    def __init__(self, loop: Loop, target: Target, items: list[Input]) -> None:
        self.items = items
        self._loop = loop
        self._agent = loop.agent
        self._target = target
        self._batch = Batch(loop.agent, target, list(items)) if loop.service.batching is not None else None
        self._place = None if target.is_async else Interruptible(items[0][0])
        self._started = time.perf_counter()
        # Its parent is the loop's `_serve`, which does not end before it.
        self.task: asyncio.Task[Any] = asyncio.ensure_future(self._run())

    async def _run(self) -> Any:
        self._enter()
        if self._batch is not None:
            return await self._run_batch(self._batch)
        if self._place is not None:
            return await self._loop.in_thread(self._run_in_thread, self._place)
        return await (self._run_generator() if self._target.is_generator else self._run_function())

    def _enter(self) -> None:
        _context.enter(self.items[0][0])
        output.begin(self.items[0][0])
        self._started = time.perf_counter()

    async def _run_function(self) -> tuple[str, bytes]:
        try:
            args, kwargs = await self._arguments()
            value = await self._target.function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001
            return failure(error)
        return success(self._target, value)

    async def _run_generator(self) -> tuple[str, bytes]:
        pieces = self._agent.open_pieces(self.items[0][0])
        count = 0
        try:
            args, kwargs = await self._arguments()
            items = self._target.function(*args, **kwargs)
            try:
                async for value in items:
                    data = piece_of(self._target.function, value)
                    # A full window must not stop the loop: user tasks go on while a thread waits for the reader.
                    await self._loop.in_thread(pieces.send, data)
                    count += 1
            finally:
                if hasattr(items, "aclose"):
                    await items.aclose()
            return GENERATOR_DONE, dumps(count)
        except BaseException as error:  # noqa: BLE001
            return failure(error)

    async def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        (item,) = self.items
        if item[3] is None:
            return self._agent.arguments(item)
        arguments: tuple[tuple[Any, ...], dict[str, Any]] = await self._loop.in_thread(self._agent.arguments, item)
        return arguments

    def _run_in_thread(self, place: Interruptible) -> tuple[str, bytes]:
        _context.enter(place.key)
        return run_one(self._agent, self._target, self.items[0], place)

    async def _run_batch(self, batch: Batch) -> tuple[Any, BaseException | None]:
        try:
            args, kwargs = await self._loop.in_thread(batch.arguments)
            if not batch.is_wanted:
                return None, None
            if self._place is None:
                return await self._target.function(*args, **kwargs), None
            return await self._loop.in_thread(self._run_batch_in_thread, self._place, args, kwargs), None
        except BaseException as error:  # noqa: BLE001
            return None, error

    def _run_batch_in_thread(self, place: Interruptible, args: Any, kwargs: Any) -> Any:
        _context.enter(place.key)
        return place.run(self._target.function, *args, **kwargs)

    # -- ending --------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Send what has come of it."""
        run_s = time.perf_counter() - self._started
        key, attempt = self.items[0][:2]
        printed = output.end(key)
        _context.leave()
        early = self.task.cancelled()  # before its first step, where nothing could catch it
        if self._batch is None:
            status, value = (EXCEPTION, cancelled()) if early else self.task.result()
            self._agent.finish(key, attempt, status, run_s, value, printed)
            return
        values, error = (None, interrupted()) if early else self.task.result()
        if error is not None:
            self._batch.fail(error, run_s, printed)
        elif self._batch.is_wanted:
            self._batch.end(values, run_s, printed)

    def cancel(self, key: str) -> None:
        """One of its inputs is not wanted any longer."""
        if self._batch is None or not self._batch.cancel(key):
            self.stop()

    def stop(self) -> None:
        """Interrupt it: an async one by `CancelledError`, one on a thread by `InputCancellation`."""
        if self._place is not None:
            self._place.interrupt()
        else:
            self.task.cancel()

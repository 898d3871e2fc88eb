"""How async functions run: on one event loop that stays up between inputs, on the main thread."""

from __future__ import annotations

import asyncio
import time

from modicum import _context
from modicum.agent import output
from modicum.agent.loop import cancelled, failure, piece_of, unsendable
from modicum.wire.messages import EXCEPTION, GENERATOR_DONE, SUCCESS
from modicum.wire.values import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from modicum.agent.loop import Agent, Input


def serve(agent: Agent, function: Callable[..., Any], generator: bool) -> None:
    """Run inputs, one after the other, until the agent is to exit."""
    asyncio.run(_Server(agent, function, generator).run())


class _Server:
    def __init__(self, agent: Agent, function: Callable[..., Any], generator: bool) -> None:
        self._agent = agent
        self._function = function
        self._run_one = self._run_generator if generator else self._run_function
        self._task: asyncio.Task[tuple[str, bytes]] | None = None
        self._key = ""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        work = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(work.set)

        def cancel(key: str) -> None:
            loop.call_soon_threadsafe(self._cancel, key)

        self._agent.on_work, self._agent.on_cancel = wake, cancel
        while True:
            work.clear()
            item = self._agent.take()
            if item is not None:
                await self._run_input(item)
            elif self._agent.exiting:
                return
            else:
                await work.wait()

    async def _run_input(self, item: Input) -> None:
        key = self._key = item[0]
        _context.enter(key)
        output.begin(key)
        started = time.perf_counter()
        task = self._task = asyncio.ensure_future(self._run_one(item))
        try:
            status, value = await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            status, value = EXCEPTION, cancelled()  # before its first step, where nothing could catch it
        run_s = time.perf_counter() - started
        self._task = None
        printed = output.end()
        _context.leave()
        self._agent.finish(key, item[1], status, run_s, value, printed)

    async def _run_function(self, item: Input) -> tuple[str, bytes]:
        try:
            args, kwargs = await self._arguments(item)
            value = await self._function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001
            return failure(error)
        try:
            return SUCCESS, dumps(value)
        except Exception as error:  # noqa: BLE001 - whatever its own pickling raises
            return failure(unsendable(self._function, "returned", value, error))

    async def _run_generator(self, item: Input) -> tuple[str, bytes]:
        pieces = self._agent.open_pieces(item[0])
        count = 0
        try:
            args, kwargs = await self._arguments(item)
            async for value in self._function(*args, **kwargs):
                data = piece_of(self._function, value)
                # A full window must not stop the loop: user tasks go on while a thread waits for the reader.
                await asyncio.to_thread(pieces.send, data)
                count += 1
            return GENERATOR_DONE, dumps(count)
        except BaseException as error:  # noqa: BLE001
            return failure(error)

    async def _arguments(self, item: Input) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if item[3] is None:
            return self._agent.arguments(item)
        return await asyncio.to_thread(self._agent.arguments, item)

    def _cancel(self, key: str) -> None:
        if self._task is not None and key == self._key:
            self._task.cancel()

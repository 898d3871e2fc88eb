"""What do dicts hold? Changes are committed before they are answered; what is read often is answered from memory.

The changes of one dict that come while others are being committed wait, and are then done together
(`stores/dicts.py`): eight clients need one commit where one needs one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from modicum.blobs.local import LocalBlobs
from modicum.server.objects import Objects, SharedObject
from modicum.stores import dicts as stored
from modicum.stores.database import Database
from modicum.stores.dicts import KEPT_S, READS_RECORDED_EVERY_S, Done, Entry, Held, Pop, Put
from modicum.stores.objects import Answer
from modicum.wire.channel import RemoteFailure

log = logging.getLogger("modicum.dicts")

CACHE_BYTES_MAX = 64 << 20
CACHED_VALUE_MAX = 64 << 10
_CACHED_BESIDES = 400
"""What an entry costs in memory beside its key and value."""

LARGE_AT_ONCE = 4
"""So many updates that came as blobs are worked on at a time: each has up to 100 MiB in memory."""

TOGETHER_MAX = 10_000
"""So many entries are changed in one transaction."""


@dataclass(slots=True)
class Clear:
    """Empty the dict."""

    request: str


_Waiting = tuple[Put | Pop | Clear, "asyncio.Future[Done]"]
"""A change, and who waits for it."""


@dataclass(slots=True)
class _Line:
    """What waits to be done on one dict, and whether something is being done."""

    waiting: list[_Waiting] = field(default_factory=list)
    is_working: bool = False


class Dicts:
    """The contents of all dicts."""

    def __init__(self, database: Database, objects: Objects, blobs: LocalBlobs) -> None:
        self._database = database
        self._objects = objects
        self._blobs = blobs
        self._lines: dict[str, _Line] = {}
        self._cache = _Cache()
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)

    # -- reading -----------------------------------------------------------------------------------------------

    def at_hand(self, of: SharedObject, key: bytes) -> Entry | None:
        """Return an entry if it is in memory."""
        held = self._cache.get((of.contents, key))
        now = time.time()
        if held is None or held.used_at <= now - KEPT_S:
            return None
        self._read(of.contents, [held], now)
        return held.entry

    async def get(self, of: SharedObject, key: bytes) -> Entry | None:
        """Return an entry, None if there is none."""
        contents, now = of.contents, time.time()
        held = await self._database.submit(stored.get(contents, key))
        if held is None or held.used_at <= now - KEPT_S:
            return None
        self._cache.put((contents, key), held)
        self._read(contents, [held], now)
        return held.entry

    async def page(
        self, of: SharedObject, after: bytes, bytes_max: int, count_max: int, with_values: bool
    ) -> tuple[list[Entry], bytes | None]:
        """Return some entries behind a place, and the place to go on from."""
        contents, now = of.contents, time.time()
        query = stored.page(contents, after, now, bytes_max, count_max, with_values)
        held, more = await self._database.submit(query)
        self._read(contents, held, now)
        return [each.entry for each in held], more

    async def count(self, of: SharedObject) -> int:
        """Return how many entries there are, up to a limit."""
        return await self._database.submit(stored.count(of.contents, time.time()))

    def _read(self, contents: int, held: Sequence[Held], now: float) -> None:
        """Record that entries were read, unless they were a moment ago. Nobody waits for it."""
        old = [each.entry.key for each in held if each.used_at < now - READS_RECORDED_EVERY_S]
        if not old:
            return
        for key in old:
            self._cache.touch((contents, key), now)
        touching = self._database.submit(stored.touch(contents, old, now))
        touching.add_done_callback(_touched)

    # -- changing ----------------------------------------------------------------------------------------------

    def do(self, of: SharedObject, change: Put | Pop | Clear) -> asyncio.Future[Done]:
        """Begin a change; it is durable once the future resolves. Fails if the dict is deleted meanwhile."""
        line = self._lines.setdefault(of.id, _Line())
        done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        line.waiting.append((change, done))
        if not line.is_working:
            self._go_on(of, line)
        return done

    def _go_on(self, of: SharedObject, line: _Line) -> None:
        """Begin what waits, as far as it is done together. By callbacks: a task for each would cost as much again."""
        together = _together(line.waiting)
        del line.waiting[: len(together)]
        line.is_working = True
        ending = self._perform(of, [change for change, _ in together])
        ending.add_done_callback(partial(self._performed, of, line, together))

    def _performed(
        self, of: SharedObject, line: _Line, together: list[_Waiting], ended: asyncio.Future[list[Done]]
    ) -> None:
        error = ended.exception()
        for place, (_, done) in enumerate(together):
            if done.done():
                continue
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(ended.result()[place])
        if line.waiting:
            self._go_on(of, line)
        else:
            del self._lines[of.id]

    def _perform(self, of: SharedObject, changes: list[Put | Pop | Clear]) -> asyncio.Future[list[Done]]:
        if of.gone.is_set() or self._objects.having(of.contents) is not of:
            failed: asyncio.Future[list[Done]] = asyncio.get_running_loop().create_future()
            failed.set_exception(RemoteFailure("not_found", f"there is no dict {of.id!r}; it has been deleted"))
            return failed
        if isinstance(changes[0], Clear):
            return asyncio.ensure_future(self._clear(of, changes[0]))
        contents, now = of.contents, time.time()
        ordinary = [each for each in changes if not isinstance(each, Clear)]
        ending = self._database.submit(stored.apply(contents, ordinary, now))
        ending.add_done_callback(partial(self._remember, contents, ordinary, now))
        return ending

    async def _clear(self, of: SharedObject, change: Clear) -> list[Done]:
        await self._objects.renew(of, Answer(change.request, time.time(), "{}"))
        return [Done()]

    def _remember(self, contents: int, changes: list[Put | Pop], now: float, ended: asyncio.Future[list[Done]]) -> None:
        if ended.exception() is None:
            for change, result in zip(changes, ended.result()):
                self._changed(contents, change, result, now)

    def _changed(self, contents: int, change: Put | Pop, result: Done, now: float) -> None:
        for blob in result.freed:
            self._blobs.delete(blob)
        if isinstance(change, Pop):
            self._cache.drop((contents, change.key))
            return
        known = not change.skip or (result.created and len(change.entries) == 1)  # else some are set, some are not
        for entry in change.entries:
            if known:
                self._cache.put((contents, entry.key), Held(entry, now))
            else:
                self._cache.drop((contents, entry.key))

    async def expire(self) -> None:
        """Delete what was not used for its time."""
        more = True
        while more:
            more, blobs = await self._database.submit(stored.expire(time.time(), 2000))
            for blob in blobs:
                self._blobs.delete(blob)


def again(answer: Answer) -> Done:
    """Return what a change came to that was done before."""
    told: dict[str, Any] = json.loads(answer.answer)
    popped = Entry(b"", answer.payload, answer.blob) if told.get("found") else None
    return Done(bool(told.get("created")), popped)


def _together(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Return the first of what waits, as far as it is done in one transaction."""
    together: list[_Waiting] = []
    entries = 0
    for change, done in waiting:
        entries += len(change.entries) if isinstance(change, Put) else 1
        if together and (isinstance(change, Clear) or entries > TOGETHER_MAX):
            break
        together.append((change, done))
        if isinstance(change, Clear):
            break
    return together


def _touched(ended: asyncio.Future[None]) -> None:
    if not ended.cancelled() and ended.exception() is not None:
        log.error("reads of a dict not recorded", exc_info=ended.exception())


class _Cache:
    """Entries in memory, those used last; no more than `CACHE_BYTES_MAX`."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, bytes], Held] = OrderedDict()
        self._bytes = 0

    def get(self, place: tuple[int, bytes]) -> Held | None:
        held = self._held.get(place)
        if held is not None:
            self._held.move_to_end(place)
        return held

    def put(self, place: tuple[int, bytes], held: Held) -> None:
        self.drop(place)
        if _cost(held) > CACHED_VALUE_MAX:
            return
        self._held[place] = held
        self._bytes += _cost(held)
        while self._bytes > CACHE_BYTES_MAX:
            self._bytes -= _cost(self._held.popitem(last=False)[1])

    def touch(self, place: tuple[int, bytes], now: float) -> None:
        held = self._held.get(place)
        if held is not None:
            self._held[place] = held._replace(used_at=now)

    def drop(self, place: tuple[int, bytes]) -> None:
        held = self._held.pop(place, None)
        if held is not None:
            self._bytes -= _cost(held)


def _cost(held: Held) -> int:
    return len(held.entry.key) + len(held.entry.value) + _CACHED_BESIDES

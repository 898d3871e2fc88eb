"""How is a request done once, though it may be asked again?

Whoever changes a dict or a queue makes up a name for his request. It is kept with the change, in the same transaction,
with what it was answered with: asked again, of the next server even, it is answered so again and nothing is done.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from modicum.blobs.local import LocalBlobs
from modicum.stores import objects as stored
from modicum.stores.database import Database
from modicum.stores.objects import Answer
from modicum.wire.frames import Header

T = TypeVar("T")

KEPT_S = 120.0
"""An answer is kept so long for whoever has lost his server; a client that finds none gives up much sooner."""

_REQUEST = re.compile(r"rq-[0-9a-f]{22}")


class Requests:
    """Which requests are under way, and what others were answered with."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: dict[str, asyncio.Future[Any]] = {}
        self.awaited: Callable[[], Iterable[str]] = lambda: ()
        """Requests whose answers are kept however old they are."""

    def once(
        self, header: Header, do: Callable[[str], asyncio.Future[T]], again: Callable[[Answer], T]
    ) -> asyncio.Future[T]:
        """Do what is asked, to its end even if the connection ends; `again` makes the result of an earlier answer."""
        request = name_of(header)
        under_way = self._open.get(request)
        if under_way is None:
            under_way = self._do_again(request, do, again) if header.get("again") else do(request)
            self._open[request] = under_way
            under_way.add_done_callback(partial(self._ended, request))
        return asyncio.shield(under_way)

    def _do_again(
        self, request: str, do: Callable[[str], asyncio.Future[T]], again: Callable[[Answer], T]
    ) -> asyncio.Future[T]:
        async def recalled() -> T:
            answer = await self.recall(request)
            return again(answer) if answer is not None else await do(request)

        return asyncio.ensure_future(recalled())

    def _ended(self, request: str, done: asyncio.Future[Any]) -> None:
        self._open.pop(request, None)
        if not done.cancelled():
            done.exception()  # whoever asked may be gone: then nobody else looks at it

    async def expire(self, blobs: LocalBlobs) -> None:
        """Forget answers for which nobody came back."""
        await self._database.submit(stored.keep(list(self.awaited()), time.time()))
        more = True
        while more:
            more, theirs = await self._database.submit(stored.forget_before(time.time() - KEPT_S, 2000))
            for blob in theirs:
                blobs.delete(blob)

    async def recall(self, request: str) -> Answer | None:
        """Return what a request was answered with, None if it was not."""
        return await self._database.submit(stored.recall(request))


def name_of(header: Header) -> str:
    """Return the name of a request. Raises `ValueError`."""
    request = header["request"]
    if not isinstance(request, str) or not _REQUEST.fullmatch(request):
        raise ValueError(f"{request!r} is no name of a request")
    return request

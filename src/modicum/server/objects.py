"""Which objects do programs share, what are they called, and who keeps the nameless ones alive?

An object has a name, or it is ephemeral: then it lives while some connection holds it, and a moment longer. What is in
an object is found by a number, its `contents`: clearing one gives it another number, and the rows of the old one go
little by little (`purge`), so that nobody waits for a large one to be emptied.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from modicum.blobs.local import LocalBlobs
from modicum.stores import objects as stored
from modicum.stores.database import Database
from modicum.stores.objects import Answer, StoredObject
from modicum.wire.channel import Channel, RemoteFailure

log = logging.getLogger("modicum.objects")

PREFIXES = {"dict": "di", "queue": "qu"}
"""How the ids of each kind begin."""

OBJECTS_MAX = 100_000
PURGED_AT_ONCE = 2000
"""So many rows are deleted in one transaction: others wait for the writing thread."""

_NAME = re.compile(r"[a-zA-Z0-9-_.]{1,64}")
_APP_ID = re.compile(r"ap-[a-zA-Z0-9]{22}")


@dataclass(slots=True, eq=False)
class SharedObject:
    """A dict or a queue, as the server knows it."""

    stored: StoredObject
    holders: set[Channel] = field(default_factory=set)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """Its id."""
        return self.stored.id

    @property
    def contents(self) -> int:
        """By which number its rows are found now."""
        return self.stored.contents


class Objects:
    """All shared objects of a server."""

    def __init__(self, database: Database, blobs: LocalBlobs, grace_s: float, reattach_grace_s: float) -> None:
        self._database = database
        self._blobs = blobs
        self._grace_s = grace_s
        self._first_grace_s = reattach_grace_s
        self._by_id: dict[str, SharedObject] = {}
        self._by_name: dict[tuple[str, str], SharedObject] = {}
        self._by_contents: dict[int, SharedObject] = {}
        self._creating: dict[tuple[str, str], asyncio.Future[SharedObject]] = {}
        self._last_contents = 0
        self._purging: asyncio.Task[None] | None = None
        self._discarded: list[int] = []
        self.on_gone: list[Callable[[SharedObject], None]] = []

    async def restore(self) -> None:
        """Take up what the last server left. Ephemeral objects get time for whoever holds them to come back."""
        found, self._discarded = await self._database.submit(stored.everything)
        for each in found:
            self._take_in(SharedObject(each))
        self._last_contents = max([0, *self._discarded, *self._by_contents])
        self._purge()

    def _take_in(self, made: SharedObject) -> None:
        self._by_id[made.id] = self._by_contents[made.contents] = made
        if made.stored.name is not None:
            self._by_name[made.stored.kind, made.stored.name] = made
        else:
            self._let_go(made, self._first_grace_s)

    def find(self, kind: str, object_id: str) -> SharedObject:
        """Return an object by its id. Raises `RemoteFailure`."""
        found = self._by_id.get(object_id)
        if found is None or found.stored.kind != kind:
            raise RemoteFailure("not_found", f"there is no {kind} {object_id!r}; it may have been deleted")
        return found

    def named(self, kind: str, name: str) -> SharedObject | None:
        """Return an object by its name, None if there is none."""
        return self._by_name.get((kind, name))

    def having(self, contents: int) -> SharedObject | None:
        """Return whose contents these are."""
        return self._by_contents.get(contents)

    def listed(self, kind: str, before: float | None, count: int) -> list[SharedObject]:
        """Return those that have a name, the newest first, of those made before a moment."""
        mine = [each for (theirs, _), each in self._by_name.items() if theirs == kind]
        mine.sort(key=lambda each: each.stored.created_at, reverse=True)
        return [each for each in mine if before is None or each.stored.created_at < before][:count]

    async def create(self, kind: str, name: str | None, by: str) -> SharedObject:
        """Make an object, or return the one of that name. It is stored when this returns. Raises `RemoteFailure`."""
        if name is None:
            return await self._add(kind, None, by)
        check_name(kind, name)
        known = self.named(kind, name)
        if known is not None:
            return known
        making = self._creating.get((kind, name))
        if making is None:
            making = asyncio.ensure_future(self._add(kind, name, by))
            self._creating[kind, name] = making
            making.add_done_callback(lambda _: self._creating.pop((kind, name)))
        return await asyncio.shield(making)

    async def _add(self, kind: str, name: str | None, by: str) -> SharedObject:
        if len(self._by_id) >= OBJECTS_MAX:
            raise RemoteFailure("resource_exhausted", f"there are {OBJECTS_MAX} dicts and queues; delete some first")
        self._last_contents += 1
        object_id = f"{PREFIXES[kind]}-{os.urandom(11).hex()}"
        made = SharedObject(StoredObject(object_id, kind, name, self._last_contents, time.time(), by))
        await self._database.submit(stored.add(made.stored))
        self._take_in(made)
        return made

    async def delete(self, gone: SharedObject) -> None:
        """Delete an object. What is asked of it from now on fails; its rows go later."""
        if gone.gone.is_set():
            return
        self._take_out(gone)
        try:
            await self._database.submit(stored.remove(gone.stored))
        except Exception:
            self._take_in(gone)
            raise
        gone.gone.set()
        for tell in self.on_gone:
            tell(gone)
        self._discard(gone.contents)

    def _take_out(self, gone: SharedObject) -> None:
        self._by_id.pop(gone.id, None)
        self._by_contents.pop(gone.contents, None)
        if gone.stored.name is not None:
            self._by_name.pop((gone.stored.kind, gone.stored.name), None)

    async def renew(self, cleared: SharedObject, answer: Answer) -> None:
        """Empty an object. Nothing else may be under way on it."""
        before = cleared.stored
        self._last_contents += 1
        after = before._replace(contents=self._last_contents)
        await self._database.submit(stored.renew(before, after.contents, answer))
        cleared.stored = after
        if self._by_contents.pop(before.contents, None) is not None:
            self._by_contents[after.contents] = cleared
        self._discard(before.contents)

    # -- who holds the nameless ones -----------------------------------------------------------------------

    async def hold(self, held: SharedObject, channel: Channel) -> None:
        """Keep an ephemeral object alive until it is deleted, or the connection ends."""
        held.holders.add(channel)
        try:
            await held.gone.wait()
        finally:
            held.holders.discard(channel)
            self._let_go(held, self._grace_s)

    def _let_go(self, held: SharedObject, grace_s: float) -> None:
        if not held.holders and not held.gone.is_set() and held.stored.name is None:
            asyncio.get_running_loop().call_later(grace_s, self._end_if_let_go, held)

    def _end_if_let_go(self, held: SharedObject) -> None:
        if not held.holders and not held.gone.is_set():
            # Nobody awaits it: a failure is logged, and the next start lets go of the object again.
            ending = asyncio.ensure_future(self.delete(held))
            ending.add_done_callback(partial(_log_failure, held.id))

    # -- rows of what is gone --------------------------------------------------------------------------------

    def _discard(self, contents: int) -> None:
        self._discarded.append(contents)
        self._purge()

    def _purge(self) -> None:
        if self._discarded and (self._purging is None or self._purging.done()):
            self._purging = asyncio.ensure_future(self._purge_all())
            self._purging.add_done_callback(partial(_log_failure, "purge"))

    async def _purge_all(self) -> None:
        while self._discarded:
            more, blobs = await self._database.submit(stored.purge(self._discarded[0], PURGED_AT_ONCE))
            for blob in blobs:
                self._blobs.delete(blob)
            if not more:
                self._discarded.pop(0)


def check_name(kind: str, name: object) -> None:
    """Raise `RemoteFailure` for what is no name of an object."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _APP_ID.fullmatch(name):
        raise RemoteFailure("invalid", f"{name!r} is no name of a {kind}")


def _log_failure(what: str, ended: asyncio.Future[None]) -> None:
    if not ended.cancelled() and ended.exception() is not None:
        log.error("shared object not deleted", extra={"what": what}, exc_info=ended.exception())

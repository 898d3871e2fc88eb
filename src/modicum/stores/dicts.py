"""What is asked of the store about dicts: their entries, by the digest of the key.

Changes of one dict that wait together are done together: what they need is read once, they are applied one after the
other in memory, and what has become of the entries is written back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from modicum.stores.objects import Answer, remember
from modicum.stores.prepared import Prepared
from modicum.stores.schema import dict_entries as entries

READS_RECORDED_EVERY_S = 600.0
"""A read is recorded unless one was so little before: most reads write nothing."""

KEPT_S = 7 * 24 * 3600.0 + READS_RECORDED_EVERY_S
"""An entry expires so long after its last recorded use: seven days after its last use or minutes later, not sooner."""

COUNTED_MAX = 100_000
"""`len` counts no further."""


class Entry(NamedTuple):
    """A key and its value; a large value is a blob."""

    key: bytes
    value: bytes
    blob: str | None


class Held(NamedTuple):
    """An entry as it is read."""

    entry: Entry
    used_at: float


class Put(NamedTuple):
    """Set entries; with `skip` only those that are not there."""

    request: str
    entries: Sequence[Entry]
    skip: bool


class Pop(NamedTuple):
    """Take an entry out."""

    request: str
    key: bytes


class Done(NamedTuple):
    """What became of a change: was anything set, what was taken out, and which blobs may go."""

    created: bool = False
    popped: Entry | None = None
    freed: tuple[str, ...] = ()


def digest(key: bytes) -> bytes:
    """Return what an entry is found by."""
    return hashlib.sha256(key).digest()


_MINE = (entries.c.contents == bindparam("contents_"), entries.c.digest == bindparam("digest_"))
_INSERT = Prepared(insert(entries), ("contents", "digest", "key", "value", "blob", "used_at"))
_UPDATE = Prepared(
    update(entries)
    .where(*_MINE)
    .values(value=bindparam("value_"), blob=bindparam("blob_"), used_at=bindparam("used_at_"))
)
_DELETE = Prepared(delete(entries).where(*_MINE))
_TOUCH = Prepared(update(entries).where(*_MINE).values(used_at=bindparam("used_at_")))
_GET = Prepared(select(entries.c.value, entries.c.blob, entries.c.used_at).where(*_MINE))
_LOOK = Prepared(select(entries.c.blob, entries.c.used_at).where(*_MINE))


class _State:
    """An entry while changes are applied to it. `stored` says whether there is a row, `entry` what there is to read."""

    __slots__ = ("changed", "entry", "stored")

    def __init__(self, stored: bool, entry: Entry | None) -> None:
        self.stored = stored
        self.entry = entry
        self.changed = False


def apply(contents: int, changes: Sequence[Put | Pop], now: float) -> Callable[[Connection], list[Done]]:
    """Do changes of one dict, one after the other; return what became of each."""

    def change(connection: Connection) -> list[Done]:
        states = _read(connection, contents, changes, now)
        done = [_put(each, states) if isinstance(each, Put) else _pop(each, states) for each in changes]
        _write(connection, contents, states, now)
        remember(connection, [answer_to(each, result, now) for each, result in zip(changes, done)])
        return done

    return change


def answer_to(change: Put | Pop, done: Done, now: float) -> Answer:
    """Return what the request is answered with."""
    if done.popped is None:
        return Answer(change.request, now, json.dumps({"created": done.created, "found": False}))
    return Answer(change.request, now, '{"found": true}', done.popped.value, done.popped.blob)


def _read(connection: Connection, contents: int, changes: Sequence[Put | Pop], now: float) -> dict[bytes, _State]:
    keys = {each.key for change in changes if isinstance(change, Put) for each in change.entries}
    popped = {change.key for change in changes if isinstance(change, Pop)}
    states = {}
    for key in keys | popped:
        here = {"contents_": contents, "digest_": digest(key)}
        rows = _GET.rows(connection, here) if key in popped else [(b"", *row) for row in _LOOK.rows(connection, here)]
        states[key] = _State(bool(rows), None)
        for value, blob, used_at in rows:
            if used_at > now - KEPT_S:
                states[key].entry = Entry(key, bytes(value), blob)
    return states


def _put(change: Put, states: dict[bytes, _State]) -> Done:
    created, freed = False, []
    for entry in change.entries:
        state = states[entry.key]
        if state.entry is not None and change.skip:
            if entry.blob is not None and entry.blob != state.entry.blob:
                freed.append(entry.blob)
            continue
        if state.entry is not None and state.entry.blob not in (None, entry.blob):
            freed.append(state.entry.blob)
        state.entry, state.changed, created = entry, True, True
    return Done(created, freed=tuple(filter(None, freed)))


def _pop(change: Pop, states: dict[bytes, _State]) -> Done:
    state = states[change.key]
    popped, state.entry, state.changed = state.entry, None, True
    return Done(popped=popped)


def _write(connection: Connection, contents: int, states: dict[bytes, _State], now: float) -> None:
    added, changed, gone = [], [], []
    for key, state in states.items():
        if not state.changed:
            continue
        row = {"contents_": contents, "digest_": digest(key)}
        if state.entry is None:
            gone += [row] if state.stored else []
        elif state.stored:
            changed.append({**row, "value_": state.entry.value, "blob_": state.entry.blob, "used_at_": now})
        else:
            added.append({"contents": contents, "digest": digest(key), **state.entry._asdict(), "used_at": now})
    for statement, rows in ((_DELETE, gone), (_UPDATE, changed), (_INSERT, added)):
        statement.each(connection, rows)


def get(contents: int, key: bytes) -> Callable[[Connection], Held | None]:
    """Return an entry, None if there is none. It may have expired."""

    def query(connection: Connection) -> Held | None:
        for value, blob, used_at in _GET.rows(connection, {"contents_": contents, "digest_": digest(key)}):
            return Held(Entry(key, bytes(value), blob), used_at)
        return None

    return query


def touch(contents: int, keys: Sequence[bytes], now: float) -> Callable[[Connection], None]:
    """Record that entries were read."""
    rows = [{"contents_": contents, "digest_": digest(key), "used_at_": now} for key in keys]
    return lambda connection: _TOUCH.each(connection, rows)


def count(contents: int, now: float) -> Callable[[Connection], int]:
    """Return how many entries there are, up to `COUNTED_MAX`."""
    there = select(entries.c.digest).where(entries.c.contents == contents, entries.c.used_at > now - KEPT_S)
    statement = select(func.count()).select_from(there.limit(COUNTED_MAX).subquery())
    return lambda connection: connection.execute(statement).scalar_one()


def page(
    contents: int, after: bytes, now: float, bytes_max: int, count_max: int, with_values: bool
) -> Callable[[Connection], tuple[list[Held], bytes | None]]:
    """Return entries behind a digest, no more than fit, and the digest to go on from (None: these were the last)."""

    def query(connection: Connection) -> tuple[list[Held], bytes | None]:
        mine = (entries.c.contents == contents, entries.c.digest > after)
        size = func.length(entries.c.key) + (func.length(entries.c.value) if with_values else 0)
        heads = connection.execute(
            select(entries.c.digest, size.label("size")).where(*mine).order_by(entries.c.digest).limit(count_max)
        ).all()
        fitting = _fitting([head.size for head in heads], bytes_max)
        if not fitting:
            return [], None
        last = heads[fitting - 1].digest
        value = entries.c.value if with_values else func.substr(entries.c.value, 1, 0).label("value")
        rows = connection.execute(
            select(entries.c.key, value, entries.c.blob, entries.c.used_at).where(*mine, entries.c.digest <= last)
        ).all()
        more = last if fitting < len(heads) or len(heads) == count_max else None
        there = [Held(Entry(*row[:3]), row.used_at) for row in rows if row.used_at > now - KEPT_S]
        return there, more

    return query


def _fitting(sizes: Sequence[int], bytes_max: int) -> int:
    """Return how many of these fit, the first one in any case."""
    total = 0
    for place, size in enumerate(sizes):
        total += size
        if total > bytes_max and place:
            return place
    return len(sizes)


def expire(now: float, count_max: int) -> Callable[[Connection], tuple[bool, list[str]]]:
    """Delete up to `count_max` expired entries; return whether there may be more, and whose blobs may go."""

    def change(connection: Connection) -> tuple[bool, list[str]]:
        old = connection.execute(
            select(entries.c.contents, entries.c.digest, entries.c.blob)
            .where(entries.c.used_at <= now - KEPT_S)
            .limit(count_max)
        ).all()
        _DELETE.each(connection, [{"contents_": row.contents, "digest_": row.digest} for row in old])
        return len(old) == count_max, [row.blob for row in old if row.blob is not None]

    return change

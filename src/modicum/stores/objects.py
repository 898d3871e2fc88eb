"""What is kept of the objects that programs share: which there are, and what requests were answered with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from modicum.stores.prepared import Prepared
from modicum.stores.schema import answers, dict_entries, discarded, objects, queue_items


class StoredObject(NamedTuple):
    """A dict or a queue; one without a name is ephemeral."""

    id: str
    kind: str
    name: str | None
    contents: int
    created_at: float
    created_by: str


class Answer(NamedTuple):
    """What a request was answered with: a JSON text, and bytes, here or as a blob."""

    request: str
    at: float
    answer: str
    payload: bytes = b""
    blob: str | None = None


def everything(connection: Connection) -> tuple[list[StoredObject], list[int]]:
    """Return all objects, and the contents that are to be purged."""
    found = [StoredObject(*row) for row in connection.execute(select(objects))]
    return found, list(connection.execute(select(discarded.c.contents)).scalars())


def add(made: StoredObject) -> Callable[[Connection], None]:
    """Record a new object."""

    def change(connection: Connection) -> None:
        connection.execute(insert(objects).values(**made._asdict()))

    return change


def remove(gone: StoredObject) -> Callable[[Connection], None]:
    """Forget an object; its contents are to be purged."""

    def change(connection: Connection) -> None:
        if connection.execute(delete(objects).where(objects.c.id == gone.id)).rowcount:
            connection.execute(insert(discarded).values(contents=gone.contents))

    return change


def renew(cleared: StoredObject, contents: int, answer: Answer) -> Callable[[Connection], None]:
    """Give an object new contents, empty ones; the old are to be purged."""

    def change(connection: Connection) -> None:
        connection.execute(update(objects).where(objects.c.id == cleared.id).values(contents=contents))
        connection.execute(insert(discarded).values(contents=cleared.contents))
        remember(connection, [answer])

    return change


def purge(contents: int, count: int) -> Callable[[Connection], tuple[bool, list[str]]]:
    """Delete up to `count` rows of discarded contents; return whether there may be more, and whose blobs may go."""

    def change(connection: Connection) -> tuple[bool, list[str]]:
        mine = dict_entries.c.contents == contents
        few = connection.execute(
            select(dict_entries.c.digest, dict_entries.c.blob).where(mine).order_by(dict_entries.c.digest).limit(count)
        ).all()
        if few:
            connection.execute(delete(dict_entries).where(mine, dict_entries.c.digest <= few[-1].digest))
        head = select(queue_items.c.number).where(queue_items.c.contents == contents).limit(count)
        taken = connection.execute(delete(queue_items).where(queue_items.c.number.in_(head))).rowcount
        more = len(few) == count or taken == count
        if not more:
            connection.execute(delete(discarded).where(discarded.c.contents == contents))
        return more, [row.blob for row in few if row.blob is not None]

    return change


_REMEMBER = Prepared(insert(answers), Answer._fields)
_KEEP = Prepared(update(answers).where(answers.c.request == bindparam("request_")).values(at=bindparam("at_")))
_FORGET = Prepared(delete(answers).where(answers.c.request == bindparam("request_")))


def remember(connection: Connection, given: Iterable[Answer]) -> None:
    """Keep answers."""
    _REMEMBER.each(connection, [each._asdict() for each in given])


def recall(request: str) -> Callable[[Connection], Answer | None]:
    """Return what a request was answered with, None if it was not."""

    def query(connection: Connection) -> Answer | None:
        row = connection.execute(select(answers).where(answers.c.request == request)).one_or_none()
        return None if row is None else Answer(*row)

    return query


def forget(connection: Connection, requests: list[str]) -> None:
    """Forget answers that have arrived."""
    _FORGET.each(connection, [{"request_": each} for each in requests])


def keep(requests: Iterable[str], now: float) -> Callable[[Connection], None]:
    """Keep answers as if they were given now."""
    rows = [{"request_": each, "at_": now} for each in requests]
    return lambda connection: _KEEP.each(connection, rows)


def forget_before(moment: float, count: int) -> Callable[[Connection], tuple[bool, list[str]]]:
    """Forget up to `count` answers that nobody came back for; return whether there may be more, and their blobs."""

    def change(connection: Connection) -> tuple[bool, list[str]]:
        old = connection.execute(
            select(answers.c.request, answers.c.blob).where(answers.c.at < moment).limit(count)
        ).all()
        forget(connection, [row.request for row in old])
        return len(old) == count, [row.blob for row in old if row.blob is not None]

    return change


def blobs(connection: Connection) -> set[str]:
    """Return the blobs that entries and answers name."""
    named = select(dict_entries.c.blob).where(dict_entries.c.blob.is_not(None))
    found = set(connection.execute(named).scalars())
    return found | set(connection.execute(select(answers.c.blob).where(answers.c.blob.is_not(None))).scalars())


def last_number(connection: Connection) -> int:
    """Return the highest number that an item of a queue has."""
    return connection.execute(select(func.max(queue_items.c.number))).scalar() or 0

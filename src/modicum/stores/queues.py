"""What is asked of the store about queues: items in the order of their numbers, taken from the front of a partition."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from modicum.stores.objects import Answer, forget, remember
from modicum.stores.prepared import Prepared
from modicum.stores.schema import answers
from modicum.stores.schema import queue_items as items

TAKEN_BYTES_MAX = 1 << 20
"""What is taken by one request fits into one frame."""


class Partition(NamedTuple):
    """What there is of a partition."""

    key: bytes
    items: int
    bytes: int
    expires_at: float


class Item(NamedTuple):
    """An item to be put."""

    number: int
    partition: bytes
    payload: bytes
    expires_at: float


class Take(NamedTuple):
    """Take up to `items` items out of a partition, as many as fit into an answer. What is put back expires as told."""

    request: str
    partition: bytes
    items: int
    expires_at: float


class Taken(NamedTuple):
    """What was taken, and what is needed to put it back."""

    numbers: list[int]
    sizes: list[int]
    payload: bytes


@dataclass(slots=True)
class Work:
    """What is to be done on one queue together, in this order."""

    cleared: list[bytes] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    """Requests whose items nobody has received: they are put back."""

    items: list[Item] = field(default_factory=list)
    takes: list[Take] = field(default_factory=list)
    extended: list[tuple[bytes, float]] = field(default_factory=list)
    """Partitions that live on though their first items were to expire."""

    done: list[str] = field(default_factory=list)
    """Requests that are answered with nothing once this is done."""

    received: list[str] = field(default_factory=list)
    """Requests whose answers have arrived: they need not be kept."""

    def __bool__(self) -> bool:
        return bool(self.cleared or self.returned or self.items or self.takes or self.extended or self.done)


_MINE = (items.c.contents == bindparam("contents_"), items.c.partition == bindparam("partition_"))
_INSERT = Prepared(insert(items), ("number", "contents", "partition", "size", "payload", "expires_at"))
_HEADS = Prepared(
    select(items.c.number, items.c.size).where(*_MINE).order_by(items.c.number).limit(bindparam("count_"))
)
_PAYLOADS = Prepared(
    select(items.c.payload).where(*_MINE, items.c.number <= bindparam("last_")).order_by(items.c.number)
)
_TAKE_OUT = Prepared(delete(items).where(*_MINE, items.c.number <= bindparam("last_")))
_CLEAR = Prepared(delete(items).where(*_MINE))
_EXTEND = Prepared(
    update(items)
    .where(*_MINE, items.c.expires_at < bindparam("expires_at_"))
    .values(expires_at=bindparam("expires_at_"))
)


def work(contents: int, asked: Work, now: float) -> Callable[[Connection], list[Taken]]:
    """Do what is asked of a queue; return what was taken, in the order of the takes."""

    def change(connection: Connection) -> list[Taken]:
        _CLEAR.each(connection, [{"contents_": contents, "partition_": each} for each in asked.cleared])
        for request in asked.returned:
            _put_back(connection, contents, request)
        rows = [{"contents": contents, "size": len(each.payload), **each._asdict()} for each in asked.items]
        _INSERT.each(connection, rows)
        taken = _take(connection, contents, asked.takes)
        for partition, expires_at in asked.extended:
            _EXTEND.each(connection, [{"contents_": contents, "partition_": partition, "expires_at_": expires_at}])
        given = [_answer(take, what, now) for take, what in zip(asked.takes, taken)]
        remember(connection, [*given, *(Answer(each, now, "{}") for each in asked.done)])
        forget(connection, asked.received)
        return taken

    return change


def _take(connection: Connection, contents: int, takes: Sequence[Take]) -> list[Taken]:
    by_partition: dict[bytes, list[Take]] = {}
    for take in takes:
        by_partition.setdefault(take.partition, []).append(take)
    taken = {}
    for partition, together in by_partition.items():
        taken.update(_take_from(connection, {"contents_": contents, "partition_": partition}, together))
    return [taken[take.request] for take in takes]


def _take_from(connection: Connection, mine: dict[str, Any], takes: Sequence[Take]) -> dict[str, Taken]:
    """Take the head of a partition and deal it out, to each as much as he asked for and an answer holds."""
    wanted = sum(take.items for take in takes)
    heads = _HEADS.rows(connection, {**mine, "count_": wanted})
    dealt: dict[str, Taken] = {}
    start = 0
    for take in takes:
        stop, size = start, 0
        while stop < min(start + take.items, len(heads)) and size + heads[stop][1] <= TAKEN_BYTES_MAX:
            size += heads[stop][1]
            stop += 1
        part = heads[start:stop]
        dealt[take.request] = Taken([number for number, _ in part], [each for _, each in part], b"")
        start = stop
    if start:
        here = {**mine, "last_": heads[start - 1][0]}
        payloads = [bytes(payload) for (payload,) in _PAYLOADS.rows(connection, here)]
        _TAKE_OUT.each(connection, [here])
        for request, each in dealt.items():
            few, payloads = payloads[: len(each.sizes)], payloads[len(each.sizes) :]
            dealt[request] = each._replace(payload=b"".join(few))
    return dealt


def _answer(take: Take, taken: Taken, now: float) -> Answer:
    told = {
        "sizes": taken.sizes,
        "numbers": taken.numbers,
        "partition": take.partition.hex(),
        "expires_at": take.expires_at,
    }
    return Answer(take.request, now, json.dumps(told, separators=(",", ":")), taken.payload)


def _put_back(connection: Connection, contents: int, request: str) -> None:
    """Put what was taken by a request back to where it was."""
    asked = select(answers.c.answer, answers.c.payload).where(answers.c.request == request)
    row = connection.execute(asked).one_or_none()
    if row is None:
        return
    told = json.loads(row.answer)
    shared = {"partition": bytes.fromhex(told["partition"]), "expires_at": told["expires_at"], "contents": contents}
    start, rows = 0, []
    for number, size in zip(told["numbers"], told["sizes"]):
        rows.append({"number": number, "size": size, "payload": row.payload[start : start + size], **shared})
        start += size
    _INSERT.each(connection, rows)
    forget(connection, [request])


def partitions(contents: int) -> Callable[[Connection], list[Partition]]:
    """Return all partitions of a queue that have items."""

    def query(connection: Connection) -> list[Partition]:
        last = (
            select(
                items.c.partition,
                func.count().label("count"),
                func.sum(items.c.size).label("bytes"),
                func.max(items.c.number).label("last"),
            )
            .where(items.c.contents == contents)
            .group_by(items.c.partition)
            .subquery()
        )
        whole = select(last.c.partition, last.c.count, last.c.bytes, items.c.expires_at).join(
            items, items.c.number == last.c.last
        )
        return [Partition(*row) for row in connection.execute(whole)]

    return query


def following(contents: int, partition: bytes, after: int, count_max: int) -> Callable[[Connection], Taken]:
    """Return the items behind a number, as many as fit into an answer, and leave them where they are."""

    def query(connection: Connection) -> Taken:
        mine = (items.c.contents == contents, items.c.partition == partition, items.c.number > after)
        heads = connection.execute(
            select(items.c.number, items.c.size).where(*mine).order_by(items.c.number).limit(count_max)
        ).all()
        count, size = 0, 0
        while count < len(heads) and size + heads[count].size <= TAKEN_BYTES_MAX:
            size += heads[count].size
            count += 1
        if not count:
            return Taken([], [], b"")
        part = heads[:count]
        payloads = connection.execute(
            select(items.c.payload).where(*mine, items.c.number <= part[-1].number).order_by(items.c.number)
        ).scalars()
        return Taken([each.number for each in part], [each.size for each in part], b"".join(payloads))

    return query


def expiring(now: float, count_max: int) -> Callable[[Connection], list[tuple[int, bytes]]]:
    """Return contents and partitions that have items whose own time is over; the partition's may not be."""
    statement = select(items.c.contents, items.c.partition).where(items.c.expires_at <= now).distinct().limit(count_max)
    return lambda connection: [(row.contents, row.partition) for row in connection.execute(statement)]

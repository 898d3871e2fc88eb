"""A queue that all containers and clients share: `Queue`."""

from __future__ import annotations

import time

from modicum._both import both, both_iter
from modicum._exchange import ConnectionLost, Farewell, Item, Reconnect, Request, Send, ask
from modicum._object import Ephemeral, NamedObject, ask_once, loaded, local_time, new_request, objects, serialized
from modicum._old_names import Dropped, Renamed, accepts, say
from modicum.exception import InvalidError, RequestSizeError, ResourceExhaustedError
from modicum.wire.messages import QUEUE_ITEM_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from modicum._exchange import Operation
    from modicum.types import QueueInfo
    from modicum.wire.frames import Header

POLL_S_MAX = 30.0
DAY_S = 24 * 3600


class Queue(NamedObject):
    """A queue that all containers and clients share: first in, first out.

    Items are whatever cloudpickle takes, up to 1 MiB each. A queue has partitions, each a queue of its own, which holds
    5,000 items and 64 MiB and is emptied 24 hours after the last `put`, or `partition_ttl` seconds. What was put is on
    the disk when `put` returns; each item is given to one `get`.

        q = modal.Queue.from_name("my-queue", create_if_missing=True)
        q.put(1)
        assert q.get() == 1

    Methods block; each has an async twin, `await q.get.aio()`.
    """

    kind, prefix = "queue", "qu"

    objects: objects[Queue] = objects()

    @staticmethod
    @accepts(Renamed("label", "name"), Dropped("namespace"), name="Queue.from_name")
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: None = None,
    ) -> Queue:
        """Return the queue of that name. Asks nobody: the server is asked at its first use.

        That raises `NotFoundError` if there is none, unless it is to be made then.
        """
        return Queue._named(name, environment_name, create_if_missing, client)

    @staticmethod
    def from_id(queue_id: str, client: None = None) -> Queue:
        """Return the queue with this id. Asks nobody. Raises `InvalidError` if it is not the id of a queue."""
        return Queue._with_id(queue_id, client)

    @classmethod
    def ephemeral(cls, client: None = None, environment_name: str | None = None) -> Ephemeral[Queue]:
        """Return a context in which there is a queue without a name: `with Queue.ephemeral() as q:`, or `async with`.

        It is gone after the block, and soon after the end of the process that made it.
        """
        return Ephemeral(Queue, environment_name, client)

    @staticmethod
    @accepts(Renamed("label", "name"), Dropped("namespace"), name="Queue.lookup")
    def lookup(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: None = None,
    ) -> Queue:
        """Return the queue of that name, after seeing that there is one."""
        say("Queue.lookup(…)", "Queue.from_name(…)")
        return Queue._named(name, environment_name, create_if_missing, client).hydrate()

    @staticmethod
    @accepts(Renamed("deployment_name", "name"), Renamed("label", "name"), Dropped("namespace"))
    def create_deployed(name: str, *, environment_name: str | None = None, client: None = None) -> str:
        """Make a queue of that name unless there is one, and return its id."""
        say("Queue.create_deployed(…)", "Queue.objects.create(…)")
        return Queue._named(name, environment_name, True, client).hydrate().object_id

    @staticmethod
    @accepts(Renamed("label", "name"))
    def delete(name: str, *, environment_name: str | None = None, client: None = None) -> None:
        """Delete the queue of that name."""
        say("Queue.delete(…)", "Queue.objects.delete(…)")
        Queue.objects.delete(name, environment_name=environment_name, client=client)

    @staticmethod
    def validate_partition_key(partition: str | None) -> bytes:
        """Return the bytes of a partition's name. Raises `InvalidError` unless it has 1 to 64."""
        if partition is None:
            return b""
        if not isinstance(partition, str):
            raise InvalidError(f"a queue's partition is named by a str, not {partition!r}")
        key = partition.encode("utf-8", "surrogatepass")
        if not 1 <= len(key) <= 64:
            raise InvalidError(f"Queue partition key must be between 1 and 64 bytes, not {len(key)}.")
        return key

    @both
    def hydrate(self, client: None = None) -> Operation[Queue]:
        """See that there is such a queue; then its id is known. Raises `NotFoundError` if there is none."""
        yield from self.facts()
        return self

    def resolve(self) -> Queue:
        """See that there is such a queue."""
        say("Queue.resolve()", "Queue.hydrate()")
        return self.hydrate()

    @both
    def info(self) -> Operation[QueueInfo]:
        """Return the queue's name, and when and by whom it was made."""
        from modicum.types import QueueInfo

        facts = yield from self.facts()
        return QueueInfo(facts["name"], local_time(facts["created_at"]), facts["created_by"])

    @both
    def clear(self, *, partition: str | None = None, all: bool = False) -> Operation[None]:  # noqa: A002
        """Take all items out of a partition, or with `all` out of all partitions."""
        if partition and all:
            raise InvalidError("Partition must be null when requesting to clear all.")
        yield from ask_once({**(yield from self._header("clear", partition)), "all": all})

    @both
    def get(
        self, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> Operation[Any | None]:
        """Take the first item, waiting for one, up to `timeout` seconds: then `queue.Empty` is raised.

        With `block=False` returns None if there is none.
        """
        taken = yield from self._take(1, block, timeout, partition)
        return taken[0] if taken else None

    @both
    def get_many(
        self, n_values: int, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> Operation[list[Any]]:
        """Take up to `n_values` items, as many as there are, waiting for the first, up to `timeout` seconds.

        Then `queue.Empty` is raised. With `block=False` returns an empty list if there is none.
        """
        return (yield from self._take(n_values, block, timeout, partition))

    @both
    def put(
        self,
        v: Any,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = DAY_S,
    ) -> Operation[None]:
        """Put an item at the end. If the partition is full it waits for room, up to `timeout` seconds.

        Then, or at once with `block=False`, `queue.Full` is raised.
        """
        yield from self._put([v], block, timeout, partition, partition_ttl)

    @both
    def put_many(
        self,
        vs: Sequence[Any],
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = DAY_S,
    ) -> Operation[None]:
        """Put items at the end, all or none of them; as `put`."""
        yield from self._put(list(vs), block, timeout, partition, partition_ttl)

    @both
    def len(self, *, partition: str | None = None, total: bool = False) -> Operation[int]:
        """Return how many items a partition has, or with `total` all of them together."""
        if partition and total:
            raise InvalidError("Partition must be null when requesting total length.")
        answer, _ = yield from ask({**(yield from self._header("len", partition)), "total": total})
        return int(answer["len"])

    @both_iter
    def iterate(self, *, partition: str | None = None, item_poll_timeout: float = 0.0) -> Operation[None]:
        """Iterate over the items and leave them there. Waits up to `item_poll_timeout` seconds for each further one."""
        _check_timeout(item_poll_timeout)
        header = yield from self._header("next", partition)
        after = 0
        deadline = time.monotonic() + item_poll_timeout
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            answer, payload = yield from ask({**header, "after": after, "wait_s": min(left, POLL_S_MAX)})
            for (number, _), data in zip(answer["items"], _cut(payload, [size for _, size in answer["items"]])):
                yield Item(self._value_of(data))
                after = number
            if answer["items"]:
                deadline = time.monotonic() + item_poll_timeout
            elif left <= POLL_S_MAX:
                return

    # -- how ---------------------------------------------------------------------------------------------------

    def _header(self, verb: str, partition: str | None) -> Operation[Header]:
        self.validate_partition_key(partition)
        return {"t": f"queue.{verb}", "queue": (yield from self.ready()), "partition": partition}

    def _put(
        self, vs: list[Any], block: bool, timeout: float | None, partition: str | None, ttl_s: float
    ) -> Operation[None]:
        from modicum.dict import send_packed

        method = "put" if len(vs) == 1 else "put_many"
        patience = _patience(f"Queue.{method}", block, timeout)
        if not isinstance(ttl_s, (int, float)) or not 0 < ttl_s <= 1e9:
            raise InvalidError(f"partition_ttl must be a number of seconds above 0, not {ttl_s!r}")
        items = [_item(value) for value in vs]
        header = yield from self._header("put", partition)
        if not items:
            return
        request = new_request()
        header |= {"request": request, "sizes": [len(each) for each in items], "ttl_s": ttl_s}
        yield Farewell({"t": "queue.leave", "request": request})
        try:
            yield from send_packed({**header, "wait_s": patience}, b"".join(items), {})
        except ResourceExhaustedError as error:
            from queue import Full

            raise Full(f"{self!r}: {error}") from None
        yield Farewell(None)

    def _take(self, count: int, block: bool, timeout: float | None, partition: str | None) -> Operation[list[Any]]:
        if not isinstance(count, int) or count < 0:
            raise InvalidError(f"n_values must be a whole number from 0 up, not {count!r}")
        wait_s = _patience("Queue.get" if count == 1 else "Queue.get_many", block, timeout)
        header = yield from self._header("get", partition)
        taken: list[Any] = []
        while count > len(taken):
            more, items = yield from self._take_some({**header, "count": count - len(taken)}, wait_s)
            taken += [self._value_of(each) for each in items]
            wait_s = 0.0
            if not more:
                break
        if block and count and not taken:
            from queue import Empty

            raise Empty
        return taken

    def _take_some(self, header: Header, wait_s: float | None) -> Operation[tuple[bool, list[bytes]]]:
        """Take what one answer holds; say whether there is more. The items are ours once we say that they are here."""
        deadline = None if wait_s is None else time.monotonic() + wait_s
        request = new_request()
        header = {**header, "request": request, "wait_s": wait_s}
        yield Farewell({"t": "queue.leave", "request": request})
        while True:
            try:
                ((answer, payload),) = yield Request((header, b""))
                if answer["sizes"]:
                    yield Send(({"t": "queue.received", "request": request}, b""))
                yield Farewell(None)
                return answer["more"], _cut(payload, answer["sizes"])
            except ConnectionLost:
                yield Reconnect()
                left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
                header = {**header, "again": True, "wait_s": left}

    def _value_of(self, data: bytes) -> Any:
        return loaded(data, lambda: f"an item of {self!r}")


def _cut(payload: bytes, sizes: list[int]) -> list[bytes]:
    parts, start = [], 0
    for size in sizes:
        parts.append(payload[start : start + size])
        start += size
    return parts


def _item(value: Any) -> bytes:
    data = serialized(value, f"an item, a {type(value).__name__},")
    if len(data) > QUEUE_ITEM_BYTES_MAX:
        raise RequestSizeError(
            f"an item of {len(data) / 2**20:.1f} MiB is too large for a Queue; 1 MiB is the most: put it into a Dict, "
            "and its key here"
        )
    return data


def _patience(what: str, block: bool, timeout: float | None) -> float | None:
    """Return how many seconds to wait, None for ever. Raises `InvalidError` for what is no time."""
    if not block:
        if timeout is not None:
            import warnings

            from modicum._old_names import stack_depth

            warnings.warn(f"the timeout of {what} is ignored with block=False", stacklevel=stack_depth())
        return 0.0
    if timeout is None:
        return None
    _check_timeout(timeout)
    return max(timeout, 0.0)


def _check_timeout(timeout: object) -> None:
    if not isinstance(timeout, (int, float)) or timeout != timeout:
        raise InvalidError(f"a timeout is a number of seconds, or None, not {timeout!r}")


__all__ = ["Queue"]

"""Queues: order, fairness, room, time, and that no item is lost or given twice, whoever is lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modicum.server import queue_line
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import CONTAINER, USER
from tests.unit.server.parts import Wire
from tests.unit.server.shared_world import Clock, World, new_request


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock().install(monkeypatch)


@pytest.fixture
async def world(tmp_path: Path, empty_store: Path, clock: Clock) -> AsyncIterator[World]:
    shutil.copy(empty_store, tmp_path / "store.db")
    made = World(tmp_path)
    await made.begin()
    yield made
    await made.end()


@pytest.fixture
async def queue(world: World) -> str:
    return await world.make("queue", "q")


def waiting(world: World, queue: str, channel: Wire, **fields: Any) -> asyncio.Task[list[bytes]]:
    return asyncio.ensure_future(world.get(queue, channel=channel, wait_s=None, **fields))


async def test_first_in_first_out_by_partition(world: World, queue: str) -> None:
    await world.put(queue, [b"1", b"2"])
    await world.put(queue, [b"3"])
    await world.put(queue, [b"other"], partition="p")
    assert await world.get(queue) == [b"1"]
    assert await world.get(queue, 5) == [b"2", b"3"]
    assert await world.get(queue, 5) == []
    assert (await world.length(queue), await world.length(queue, "p")) == (0, 1)
    assert await world.length(queue, total=True) == 1


async def test_waiters_are_served_in_their_order(world: World, queue: str) -> None:
    waiters = [waiting(world, queue, Wire(USER)) for _ in range(3)]
    await world.settle()
    await world.put(queue, [b"a"])
    await world.put(queue, [b"b", b"c"])
    assert await asyncio.gather(*waiters) == [[b"a"], [b"b"], [b"c"]]
    assert await world.length(queue) == 0


async def test_whoever_comes_later_overtakes_nobody(world: World, queue: str) -> None:
    first = waiting(world, queue, Wire(USER))
    await world.settle()
    putting = asyncio.ensure_future(world.put(queue, [b"a"]))
    second = asyncio.ensure_future(world.get(queue))  # it does not wait
    await putting
    assert (await first, await second) == ([b"a"], [])


async def test_a_waiter_that_is_gone_takes_nothing(world: World, queue: str) -> None:
    lost, stays = Wire(USER), Wire(USER)
    gone = waiting(world, queue, lost)
    await world.settle()
    remains = waiting(world, queue, stays)
    await world.settle()
    gone.cancel()  # as its connection does
    await world.lose(lost)
    await world.put(queue, [b"a"])
    assert await remains == [b"a"]


async def test_what_was_given_and_not_received_comes_first_again(world: World, queue: str) -> None:
    lost = Wire(CONTAINER, "ta-1")
    await world.put(queue, [b"a", b"b", b"c"])
    assert await world.get(queue, 2, lost, receive=False) == [b"a", b"b"]
    assert await world.length(queue) == 1
    await world.lose(lost)
    assert await world.length(queue) == 3
    assert await world.get(queue, 9) == [b"a", b"b", b"c"]


async def test_what_was_received_does_not_come_back(world: World, queue: str) -> None:
    other = Wire(USER)
    await world.put(queue, [b"a", b"b"])
    await world.get(queue, 1, other)
    await world.lose(other)
    assert await world.get(queue, 9) == [b"b"]


async def test_who_is_cancelled_gives_back_at_once(world: World, queue: str) -> None:
    request = new_request()
    await world.put(queue, [b"a"])
    await world.get(queue, receive=False, request=request)
    await world.ask({"t": "queue.leave", "request": request})
    await world.settle()
    assert await world.get(queue) == [b"a"]


async def test_who_is_cancelled_while_he_waits(world: World, queue: str) -> None:
    request = new_request()
    waiter = waiting(world, queue, world.user, request=request)
    await world.settle()
    await world.ask({"t": "queue.leave", "request": request})
    assert await waiter == []
    await world.put(queue, [b"a"])
    assert await world.length(queue) == 1


async def test_what_is_given_back_serves_who_waits(world: World, queue: str) -> None:
    lost, stays = Wire(USER), Wire(USER)
    await world.put(queue, [b"a"])
    await world.get(queue, 1, lost, receive=False)
    waiter = waiting(world, queue, stays)
    await world.settle()
    await world.lose(lost)
    assert await waiter == [b"a"]


async def test_a_lost_answer_is_asked_for_again(world: World, queue: str) -> None:
    request = new_request()
    await world.put(queue, [b"a", b"b"])
    assert await world.get(queue, receive=False, request=request) == [b"a"]
    back = Wire(USER)
    assert await world.get(queue, channel=back, request=request, again=True) == [b"a"]
    await world.lose(world.user)  # the connection on which it was given first
    assert await world.get(queue, 9) == [b"b"]


async def test_who_came_back_is_where_it_is(world: World, queue: str) -> None:
    request, first, second = new_request(), Wire(USER), Wire(USER)
    await world.put(queue, [b"a"])
    await world.get(queue, channel=first, receive=False, request=request)
    await world.get(queue, channel=second, receive=False, request=request, again=True)
    await world.lose(first)
    assert await world.length(queue) == 0
    await world.lose(second)
    assert await world.get(queue) == [b"a"]


async def test_who_is_gone_when_it_comes_out_of_the_store(world: World, queue: str) -> None:
    lost = Wire(USER)
    await world.put(queue, [b"a"])
    taking = asyncio.ensure_future(world.get(queue, channel=lost, receive=False))
    await asyncio.sleep(0)
    lost.closed = True
    await taking
    await asyncio.sleep(0)
    await world.settle()
    assert await world.get(queue) == [b"a"]


async def test_what_has_arrived_is_not_kept(world: World, queue: str) -> None:
    await world.put(queue, [b"a", b"b"])
    await world.get(queue)
    await world.put(queue, [b"c"])
    count = "SELECT count(*) FROM answers WHERE answer != '{}'"
    kept = await world.parts.database.submit(lambda c: c.exec_driver_sql(count).scalar())
    assert kept == 0


async def test_room_comes_back(world: World, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_line, "BYTES_MAX", 4)
    await world.put(queue, [b"12", b"34"])
    await world.get(queue)
    await world.put(queue, [b"56"])
    assert await world.get(queue, 9) == [b"34", b"56"]


async def test_over_a_killed_server(world: World, queue: str) -> None:
    taking, putting, never = new_request(), new_request(), new_request()
    await world.put(queue, [b"a", b"b"], request=putting)
    assert await world.get(queue, receive=False, request=taking) == [b"a"]
    await world.kill()
    await world.put(queue, [b"a", b"b"], request=putting, again=True)
    assert await world.get(queue, request=taking, again=True) == [b"a"]
    assert await world.get(queue, 9) == [b"b"], "put once"
    assert await world.get(queue, request=never, again=True) == []
    await world.put(queue, [b"c"], request=new_request(), again=True)
    assert await world.get(queue) == [b"c"]


async def test_what_was_given_before_a_kill_is_not_given_to_others(world: World, queue: str) -> None:
    await world.put(queue, [b"a", b"b"])
    await world.get(queue, receive=False)  # his word may have been lost with the server
    await world.kill()
    await world.settle()
    assert await world.get(queue, 9) == [b"b"]


async def test_put_waits_for_room_in_its_order(world: World, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_line, "ITEMS_MAX", 3)
    await world.put(queue, [b"1", b"2", b"3"])
    with pytest.raises(RemoteFailure, match="has 3 items of the 3") as caught:
        await world.put(queue, [b"x"])
    assert caught.value.code == "resource_exhausted"
    two = asyncio.ensure_future(world.put(queue, [b"4", b"5"], wait_s=None))
    await world.settle()
    one = asyncio.ensure_future(world.put(queue, [b"6"], wait_s=None))
    await world.get(queue)
    await world.settle()
    assert not one.done(), "there is room for it, but it is not its turn"
    await world.get(queue)
    await two
    assert not one.done()
    assert await world.get(queue, 9) == [b"3", b"4", b"5"]
    await one
    assert await world.get(queue, 9) == [b"6"]


async def test_put_waits_no_longer_than_it_wants_to(world: World, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_line, "BYTES_MAX", 3)
    await world.put(queue, [b"123"])
    with pytest.raises(RemoteFailure, match=r"no room in the queue for 0\.01 s"):
        await world.put(queue, [b"4"], wait_s=0.01)
    await world.get(queue)
    assert await world.length(queue) == 0, "who gave up has put nothing"


async def test_limits(world: World, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_line, "PARTITIONS_MAX", 2)
    for name in ("a", "b"):
        await world.put(queue, [b"1"], partition=name)
    with pytest.raises(RemoteFailure, match="the queue has 2 partitions, which is the most"):
        await world.put(queue, [b"1"], partition="c", wait_s=None)
    await world.get(queue, partition="a")
    await world.put(queue, [b"1"], partition="c")
    with pytest.raises(RemoteFailure, match="larger than 1 MiB"):
        await world.ask(
            {
                "t": "queue.put",
                "queue": queue,
                "request": new_request(),
                "ttl_s": 1,
                "wait_s": 0,
                "sizes": [(1 << 20) + 1],
            },
            b"x" * ((1 << 20) + 1),
        )
    with pytest.raises(RemoteFailure, match="a partition holds 5,000"):
        await world.put(queue, [b""] * 5001)


async def test_what_waits_for_room_is_bounded(world: World, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from modicum.server import queues

    monkeypatch.setattr(queue_line, "ITEMS_MAX", 1)
    monkeypatch.setattr(queues, "HELD_BYTES_MAX", 10)
    await world.put(queue, [b"full"])
    first = asyncio.ensure_future(world.put(queue, [b"12345678"], wait_s=None))
    await world.settle()
    with pytest.raises(RemoteFailure, match="wait for room in queues already") as caught:
        await world.put(queue, [b"123"], wait_s=None)
    assert caught.value.code == "resource_exhausted"
    assert await world.get(queue) == [b"full"]
    await first
    await world.get(queue)
    await world.put(queue, [b"123"])


@pytest.mark.parametrize("name", ["", "x" * 65, "ü" * 33, 7])
async def test_partitions_that_are_none(world: World, queue: str, name: Any) -> None:
    with pytest.raises(RemoteFailure, match="malformed"):
        await world.put(queue, [b"1"], partition=name)


async def test_an_answer_is_no_larger_than_a_frame(world: World, queue: str) -> None:
    half = b"x" * (1 << 19)
    for _ in range(5):
        await world.put(queue, [half])
    header = {"t": "queue.get", "queue": queue, "count": 5, "wait_s": 0, "request": new_request()}
    told, payload = await world.ask(header)
    assert (len(payload), told["more"]) == (1 << 20, True)
    assert await world.length(queue) == 3


async def test_time_of_a_partition(world: World, queue: str, clock: Clock) -> None:
    await world.put(queue, [b"1"], ttl_s=10)
    clock.now += 9
    await world.put(queue, [b"2"], ttl_s=10)
    clock.now += 9
    assert await world.length(queue) == 2, "the last put counts"
    await world.parts.queues.expire()
    await world.settle()
    assert await world.shown(queue) == [b"1", b"2"]
    clock.now += 1
    assert (await world.length(queue), await world.shown(queue), await world.get(queue)) == (0, [], [])
    await world.put(queue, [b"3"])
    assert await world.get(queue, 9) == [b"3"]


async def test_expired_items_are_deleted_though_nobody_asks(world: World, queue: str, clock: Clock) -> None:
    await world.put(queue, [b"1"] * 3, ttl_s=10)
    await world.put(queue, [b"1"], partition="p", ttl_s=20)
    await world.kill()
    clock.now += 11
    await world.parts.queues.expire()
    await world.settle()
    rows = await world.parts.database.submit(lambda c: c.exec_driver_sql("SELECT count(*) FROM queue_items").scalar())
    assert rows == 1


async def test_clearing(world: World, queue: str) -> None:
    given = Wire(USER)
    for name in (None, "p", "q"):
        await world.put(queue, [b"1", b"2"], partition=name)
    clear = {"t": "queue.clear", "queue": queue, "partition": None}
    await world.ask({**clear, "request": new_request()})
    assert (await world.length(queue), await world.length(queue, total=True)) == (0, 4)
    await world.get(queue, channel=given, partition="p", receive=False)
    waiter = waiting(world, queue, world.user)
    await world.settle()
    request = new_request()
    await world.ask({**clear, "request": request, "all": True})
    await world.lose(given)
    assert await world.length(queue, total=True) == 0, "what was given before does not come back"
    await world.put(queue, [b"3"])
    assert await waiter == [b"3"]
    await world.put(queue, [b"4"])
    await world.ask({**clear, "request": request, "all": True, "again": True})
    assert await world.get(queue) == [b"4"], "cleared once"


async def test_iterating_waits_for_what_comes(world: World, queue: str) -> None:
    await world.put(queue, [b"1"])
    header = {"t": "queue.next", "queue": queue, "partition": None, "wait_s": 30}
    told, _ = await world.ask({**header, "after": 0})
    (number, _size) = told["items"][0]
    showing = asyncio.ensure_future(world.shown(queue, after=number, wait_s=30))
    await world.settle()
    assert not showing.done()
    await world.put(queue, [b"2"])
    assert await showing == [b"2"]
    assert await world.length(queue) == 2


async def test_a_deleted_queue_says_so_to_all(world: World, queue: str) -> None:
    waiter = waiting(world, queue, Wire(USER))
    showing = asyncio.ensure_future(world.shown(queue, wait_s=30))
    await world.settle()
    await world.ask({"t": "object.delete", "kind": "queue", "id": queue})
    for each in (waiter, showing):
        with pytest.raises(RemoteFailure, match="deleted") as caught:
            await each
        assert caught.value.code == "not_found"
    with pytest.raises(RemoteFailure, match="it may have been deleted"):
        await world.put(queue, [b"1"])


async def test_a_store_that_fails_loses_nothing(world: World, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put(queue, [b"1"])
    submit = world.parts.database.submit

    def failing(change: Any) -> Any:
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        result.set_exception(OSError("disk full"))
        return result

    monkeypatch.setattr(world.parts.database, "submit", failing)
    with pytest.raises(OSError, match="disk full"):
        await world.get(queue)
    with pytest.raises(OSError, match="disk full"):
        await world.length(queue)
    monkeypatch.setattr(world.parts.database, "submit", submit)
    assert await world.get(queue) == [b"1"]


async def test_queues_that_rest_are_read_again(world: World, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from modicum.server import queues

    monkeypatch.setattr(queues, "LINES_IN_MEMORY_MAX", 1)
    await world.put(queue, [b"1"])
    other = await world.make("queue", "other")
    await world.put(other, [b"2"])
    await world.settle()
    await world.length(await world.make("queue", "third"))
    assert queue not in world.parts.queues._queues
    assert (await world.get(queue), await world.get(other)) == ([b"1"], [b"2"])


async def test_what_comes_back_to_a_queue_that_was_read_again(
    world: World, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modicum.server import queues

    lost = Wire(CONTAINER, "ta-1")
    await world.put(queue, [b"1", b"2"])
    await world.get(queue, 1, lost, receive=False)
    await world.settle()
    monkeypatch.setattr(queues, "LINES_IN_MEMORY_MAX", 0)
    await world.length(await world.make("queue", "other"))
    assert queue not in world.parts.queues._queues
    assert await world.length(queue) == 1
    await world.lose(lost)
    assert await world.length(queue) == 2
    assert await world.get(queue, 9) == [b"1", b"2"]


async def test_what_was_given_is_kept_as_long_as_it_may_come_back(world: World, queue: str, clock: Clock) -> None:
    """A client may be stopped for minutes between the answer and its word that it has come."""
    stopped = Wire(USER)
    await world.put(queue, [b"1", b"2"])
    await world.get(queue, 1, stopped, receive=False)
    clock.now += 200
    await world.parts.requests.expire(world.parts.blobs)
    await world.lose(stopped)
    assert await world.length(queue) == 2
    assert await world.get(queue, 9) == [b"1", b"2"]
    assert await world.length(queue) == 0

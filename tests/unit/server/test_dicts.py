"""Dicts, and the objects that programs share: atomic, durable, done once, and forgotten after their time."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modicum.server import dicts
from modicum.stores.dicts import KEPT_S
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import USER
from tests.unit.server.parts import Wire
from tests.unit.server.shared_world import Clock, World, new_request

DAY_S = 24 * 3600.0
BLOB = "bl-0123456789abcdef01234567"


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
async def of(world: World) -> str:
    return await world.make("dict", "d")


async def upload(world: World, blob: str, data: bytes) -> None:
    await world.ask({"t": "blob.put", "blob": blob, "offset": 0, "total": len(data)}, data)


async def update_large(world: World, of: str, key: bytes, blob: str, **fields: Any) -> bool:
    header = {"t": "dict.update", "dict": of, "request": new_request(), "entries": [[len(key), 0, blob]], **fields}
    return bool((await world.ask(header, key))[0]["created"])


async def test_entries(world: World, of: str) -> None:
    assert await world.update(of, {b"a": b"1", b"b": b"2"})
    assert (await world.value(of, b"a"), await world.value(of, b"c")) == (b"1", None)
    assert await world.update(of, {b"a": b"3"})
    assert await world.entries(of) == {b"a": b"3", b"b": b"2"}
    assert (await world.pop(of, b"a"), await world.pop(of, b"a")) == (b"3", None)
    assert (await world.value(of, b"a"), await world.count(of)) == (None, 1)
    await world.kill()
    assert await world.entries(of) == {b"b": b"2"}


async def test_of_many_who_want_a_key_one_gets_it(world: World, of: str) -> None:
    got = await asyncio.gather(*(world.update(of, {b"lock": b"%d" % n}, skip=True) for n in range(20)))
    assert sum(got) == 1
    assert await world.value(of, b"lock") == b"%d" % got.index(True)


async def test_of_several_entries_those_that_are_there_are_skipped(world: World, of: str) -> None:
    await world.update(of, {b"a": b"1"})
    assert await world.update(of, {b"a": b"2", b"b": b"2"}, skip=True)
    assert (await world.value(of, b"a"), await world.value(of, b"b")) == (b"1", b"2")


async def test_changes_that_come_together_are_done_in_their_order(world: World, of: str) -> None:
    results: tuple[Any, ...] | list[Any] = await asyncio.gather(
        world.update(of, {b"a": b"1"}),
        world.pop(of, b"a"),
        world.pop(of, b"a"),
        world.update(of, {b"a": b"2"}, skip=True),
        world.ask({"t": "dict.clear", "dict": of, "request": new_request()}),
        world.update(of, {b"b": b"3"}),
    )
    assert list(results[:4]) == [True, b"1", None, True]
    assert await world.entries(of) == {b"b": b"3"}


async def test_a_change_is_done_once(world: World, of: str) -> None:
    lock, popping, clearing = new_request(), new_request(), new_request()
    assert await world.update(of, {b"lock": b"me"}, skip=True, request=lock)
    await world.update(of, {b"a": b"1"})
    assert await world.pop(of, b"a", request=popping) == b"1"
    await world.kill()
    assert await world.update(of, {b"lock": b"me"}, skip=True, request=lock, again=True), "it is his still"
    assert await world.pop(of, b"a", request=popping, again=True) == b"1"
    await world.ask({"t": "dict.clear", "dict": of, "request": clearing})
    await world.update(of, {b"b": b"2"})
    await world.kill()
    await world.ask({"t": "dict.clear", "dict": of, "request": clearing, "again": True})
    assert await world.entries(of) == {b"b": b"2"}


async def test_a_change_goes_on_without_its_connection(world: World, of: str) -> None:
    request = new_request()
    asked = asyncio.ensure_future(world.update(of, {b"a": b"1"}, request=request))
    await asyncio.sleep(0)
    asked.cancel()
    assert await world.update(of, {b"a": b"1"}, request=request, again=True)
    assert await world.value(of, b"a") == b"1"


async def test_entries_expire(world: World, of: str, clock: Clock) -> None:
    await world.update(of, {b"read": b"1", b"written": b"1", b"listed": b"1", b"left": b"1"})
    clock.now += 6 * DAY_S
    assert await world.value(of, b"read") == b"1"
    await world.update(of, {b"written": b"2"})
    await world.kill()  # reads were recorded
    clock.now += 6 * DAY_S
    assert await world.value(of, b"left") is None
    assert await world.value(of, b"listed") is None
    assert await world.entries(of) == {b"read": b"1", b"written": b"2"}
    assert await world.count(of) == 2
    assert await world.update(of, {b"left": b"3"}, skip=True), "there is none any longer"
    clock.now += KEPT_S
    await world.parts.dicts.expire()
    assert await rows(world, "dict_entries") == 0


async def test_listing_values_is_reading_them(world: World, of: str, clock: Clock) -> None:
    await world.update(of, {b"a": b"1"})
    clock.now += 6 * DAY_S
    await world.entries(of)
    clock.now += 6 * DAY_S
    assert await world.entries(of) == {b"a": b"1"}


async def rows(world: World, table: str) -> int:
    found = await world.parts.database.submit(lambda c: c.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar())
    return int(found or 0)


async def test_large_values_are_blobs_and_go_with_their_entry(world: World, of: str) -> None:
    blobs = world.parts.blobs
    other, third = BLOB.replace("0", "a"), BLOB.replace("0", "b")
    for blob in (BLOB, other, third):
        await upload(world, blob, b"large")
    assert await update_large(world, of, b"k", BLOB)
    told, payload = await world.ask({"t": "dict.get", "dict": of}, b"k")
    assert (told["blob"], payload) == (BLOB, b"")
    assert not await update_large(world, of, b"k", other, skip=True)
    assert (blobs.has(BLOB), blobs.has(other)) == (True, False)
    await update_large(world, of, b"k", third)
    assert (blobs.has(BLOB), blobs.has(third)) == (False, True)
    told, _ = await world.ask({"t": "dict.pop", "dict": of, "request": new_request()}, b"k")
    assert told["blob"] == third
    assert blobs.has(third), "its reader has yet to read it"
    with pytest.raises(RemoteFailure, match="has not arrived"):
        await update_large(world, of, b"k", BLOB)


async def test_values_of_dicts_are_no_orphans(world: World, of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from modicum.server import main

    monkeypatch.setattr(main, "BLOB_ORPHANED_S", -10.0)
    await upload(world, BLOB, b"large")
    await update_large(world, of, b"k", BLOB)
    await world.server._sweep_values(world.parts)
    assert world.parts.blobs.has(BLOB)
    await world.ask({"t": "object.delete", "kind": "dict", "id": of})
    await world.parts.objects._purging  # type: ignore[misc]
    assert not world.parts.blobs.has(BLOB)


async def test_much_comes_as_a_blob(world: World, of: str) -> None:
    entries = {b"%d" % n: b"x" * 1000 for n in range(3000)}
    data = b"".join(key + value for key, value in entries.items())
    for offset in range(0, len(data), 1 << 20):
        chunk = data[offset : offset + (1 << 20)]
        await world.ask({"t": "blob.put", "blob": BLOB, "offset": offset, "total": len(data)}, chunk)
    told = [[len(key), len(value), None] for key, value in entries.items()]
    header = {"t": "dict.update", "dict": of, "request": new_request(), "entries": told, "packed": BLOB}
    await world.ask(header)
    assert await world.entries(of) == entries
    assert not world.parts.blobs.has(BLOB)


async def test_limits(world: World, of: str) -> None:
    with pytest.raises(RemoteFailure, match="10,001 entries in one update"):
        await world.update(of, {b"%d" % n: b"" for n in range(10_001)})
    with pytest.raises(RemoteFailure, match="a key of 262,145 bytes") as caught:
        await world.update(of, {b"x" * ((256 << 10) + 1): b""})
    assert caught.value.code == "request_size"


async def test_memory_is_bounded(world: World, of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicts, "CACHE_BYTES_MAX", 5000)
    for number in range(50):
        await world.update(of, {b"%d" % number: b"x" * 100})
    cache = world.parts.dicts._cache
    assert 0 < cache._bytes <= 5000
    assert cache._bytes == sum(map(dicts._cost, cache._held.values()))
    assert [await world.value(of, b"%d" % n) for n in (0, 49)] == [b"x" * 100] * 2


async def test_clearing_empties_and_old_rows_go(world: World, of: str) -> None:
    await world.update(of, {b"%d" % n: b"1" for n in range(10)})
    await world.value(of, b"1")
    await world.ask({"t": "dict.clear", "dict": of, "request": new_request()})
    assert (await world.count(of), await world.value(of, b"1"), await world.entries(of)) == (0, None, {})
    await world.parts.objects._purging  # type: ignore[misc]
    assert (await rows(world, "dict_entries"), await rows(world, "discarded")) == (0, 0)


# -- objects ---------------------------------------------------------------------------------------------------


async def test_names(world: World) -> None:
    first, second = await asyncio.gather(world.make("dict", "x"), world.make("dict", "x"))
    assert first == second
    assert await world.make("queue", "x") != first
    with pytest.raises(RemoteFailure, match="a dict named 'x' already") as caught:
        await world.ask({"t": "object.create", "kind": "dict", "name": "x", "by": "me", "fail_if_exists": True})
    assert caught.value.code == "already_exists"
    told, _ = await world.ask({"t": "object.lookup", "kind": "dict", "name": "x"})
    assert (told["id"], told["name"], told["created_by"]) == (first, "x", "me")
    with pytest.raises(RemoteFailure, match=r"there is no dict named 'y'; make it by `Dict\.from_name"):
        await world.ask({"t": "object.lookup", "kind": "dict", "name": "y"})
    with pytest.raises(RemoteFailure, match=f"there is no queue '{first}'"):
        await world.ask({"t": "object.lookup", "kind": "queue", "id": first})
    for name in ("", "a b", "x" * 65, "ap-" + "a" * 22, 7):
        with pytest.raises(RemoteFailure, match="is no name of a dict"):
            await world.make("dict", name)  # type: ignore[arg-type]


async def test_lists_are_in_pages_the_newest_first(world: World, clock: Clock) -> None:
    for number in range(5):
        clock.now += 1
        await world.make("dict", f"d{number}")
    await world.make("dict")
    await world.kill()
    listing = {"t": "object.list", "kind": "dict", "count": 3}
    told, _ = await world.ask(listing)
    assert [each["name"] for each in told["objects"]] == ["d4", "d3", "d2"]
    rest, _ = await world.ask({**listing, "before": told["objects"][-1]["created_at"]})
    assert [each["name"] for each in rest["objects"]] == ["d1", "d0"]


async def gone(world: World, of: str) -> None:
    """Wait until there is no such object any longer."""
    known = world.parts.objects._by_id.get(of)
    if known is not None:
        await known.gone.wait()
    with pytest.raises(RemoteFailure, match="it may have been deleted"):
        await world.value(of, b"a")


async def test_ephemeral_ones_live_while_they_are_held(world: World) -> None:
    held = await world.make("dict")
    world.parts.objects._grace_s = 0
    first, second = Wire(USER), Wire(USER)
    holding = [asyncio.ensure_future(world.ask(_hold(held), channel=each)) for each in (first, second)]
    await asyncio.sleep(0)
    await world.update(held, {b"a": b"1"})
    holding[0].cancel()  # as its connection does when it ends
    await asyncio.wait(holding[:1])
    await asyncio.sleep(0)
    assert await world.value(held, b"a") == b"1"
    holding[1].cancel()
    await asyncio.wait(holding)
    await gone(world, held)


async def test_who_holds_hears_of_the_end(world: World) -> None:
    held = await world.make("queue")
    holding = asyncio.ensure_future(world.ask(_hold(held, "queue")))
    await asyncio.sleep(0)
    await world.ask({"t": "object.delete", "kind": "queue", "id": held})
    assert await holding == ({}, b"")


async def test_who_loses_his_server_holds_on(world: World) -> None:
    held = await world.make("dict")
    lost = await world.make("dict")
    named = await world.make("dict", "n")
    await world.end()
    await world.begin_with(reattach_grace_s=0.05)
    holding = asyncio.ensure_future(world.ask(_hold(held)))
    await gone(world, lost)
    assert await world.value(held, b"a") is None
    assert await world.value(named, b"a") is None
    holding.cancel()


def _hold(held: str, kind: str = "dict") -> dict[str, Any]:
    return {"t": "object.hold", "kind": kind, "id": held}


async def test_answers_are_kept_for_their_time(world: World, of: str, clock: Clock) -> None:
    await world.update(of, {b"a": b"1"})
    await world.pop(of, b"a")
    await world.parts.requests.expire(world.parts.blobs)
    assert await rows(world, "answers") == 2
    clock.now += 121
    await world.parts.requests.expire(world.parts.blobs)
    assert await rows(world, "answers") == 0

"""Outputs reach whoever waits, once; agents forget them when they are safe and not before."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum.blobs.local import LocalBlobs
from modicum.server import deliveries as deliveries_
from modicum.server.deliveries import Deliveries
from modicum.server.records import Call, Container, Output, key_of, split_key
from modicum.stores import calls as stored
from modicum.stores import queries
from modicum.stores.database import Database
from modicum.wire.frames import PAYLOAD_BYTES_MAX
from tests.unit.server.parts import Wire

BLOB = "bl-" + "0" * 24


class World:
    """Deliveries between one caller and one container."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder}/store.db")
        self.blobs = LocalBlobs(folder / "blobs")
        self.deliveries = Deliveries(self.blobs, self.database)
        self.caller, self.agent = Wire("user"), Wire("container", "ta-1")
        self.container = Container("ta-1", "fu-1", "ap-1", "node", self.agent)
        self.seq = 0

    def call(self, kind: str, count: int = 1, name: str = "fc-1") -> Call:
        call = Call(name, "fu-1", kind, "user", self.caller)
        self.deliveries.open(call)
        for index in range(count):
            assert self.deliveries.add(call, index, b"in", None) == f"{name}:{index}"
        return call

    def arrive(self, outputs: dict[str, Output], accepted: list[str] | None = None) -> None:
        """The agent sends outputs; the core accepts all of them, or these."""
        self.seq += 1
        self.deliveries.arrive(self.deliveries.announce(self.container, self.seq), outputs)
        self.deliveries.accept(outputs if accepted is None else accepted)
        self.deliveries.settle()

    def delivered(self) -> list[tuple[int, str, bytes, str | None]]:
        """Return what the caller has been sent since the last look: index, status, value, blob."""
        found = []
        for header, payload in self.caller.take():
            assert header["t"] == "call.outputs"
            start = 0
            for index, status, size, blob in header["outputs"]:
                found.append((index, status, payload[start : start + size], blob))
                start += size
            assert start == len(payload) <= PAYLOAD_BYTES_MAX
        return found

    async def acknowledged(self) -> list[int]:
        """Return up to which frames the agent may forget, as it is told in the next moments."""
        await asyncio.sleep(0.01)
        return [header["seq"] for header, _ in self.agent.take() if header["t"] == "outputs.ack"]


@pytest.fixture
def world(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(deliveries_, "ACKNOWLEDGE_EVERY_S", 0.001)
    shutil.copy(empty_store, tmp_path / "store.db")
    made = World(tmp_path)
    yield made
    made.database.close()


def ok(value: bytes, blob: str | None = None) -> Output:
    return Output("ok", value, blob)


async def test_accepted_outputs_go_to_the_caller_in_one_frame(world: World) -> None:
    world.call("map", 3)
    world.arrive({key_of("fc-1", index): ok(b"%d" % index) for index in range(3)})
    assert len(world.caller.sent) == 1
    assert world.delivered() == [(index, "ok", b"%d" % index, None) for index in range(3)]


async def test_late_outputs_are_dropped_and_acknowledged(world: World) -> None:
    world.call("map", 2)
    world.arrive({"fc-1:0": ok(b"late"), "fc-1:1": ok(b"right")}, accepted=["fc-1:1"])
    assert world.delivered() == [(1, "ok", b"right", None)]
    assert await world.acknowledged() == [1]


async def test_frames_are_cut_where_they_are_full(world: World) -> None:
    world.call("map", 3)
    half = bytes(PAYLOAD_BYTES_MAX // 2)
    world.arrive({f"fc-1:{index}": ok(half) for index in range(3)})
    assert len(world.caller.sent) == 2
    assert [index for index, _, _, _ in world.delivered()] == [0, 1, 2]


async def test_a_sync_call_is_forgotten_when_it_is_answered(world: World) -> None:
    world.call("sync")
    world.arrive({"fc-1:0": ok(b"v")})
    assert world.delivered() == [(0, "ok", b"v", None)]
    assert not world.deliveries.calls
    assert not world.deliveries.inputs


async def test_not_acknowledged_while_it_waits_in_the_connection(world: World) -> None:
    world.call("map", 2)
    world.caller.waiting = 10
    world.arrive({"fc-1:0": ok(b"a")})
    world.arrive({"fc-1:1": ok(b"b")})
    assert await world.acknowledged() == []
    world.caller.waiting = 0
    assert await world.acknowledged() == [2]


async def test_acknowledged_in_order_only(world: World) -> None:
    slow, fast = world.call("map", 1), Call("fc-2", "fu-1", "map", "user", Wire("user"))
    world.deliveries.open(fast)
    world.deliveries.add(fast, 0, b"", None)
    world.caller.waiting = 10
    world.arrive({"fc-1:0": ok(b"a")})
    world.arrive({"fc-2:0": ok(b"b")})
    assert await world.acknowledged() == []
    slow.channel = None
    world.caller.closed = True
    assert await world.acknowledged() == [2]


async def test_output_of_a_spawned_input_is_acknowledged_after_its_commit(world: World) -> None:
    await world.database.submit(queries.add_app("ap-1", "n", "k", False, {}, True, 1.0))
    await world.database.submit(queries.add_function("fu-1", "ap-1", "f", {}, b""))
    row = stored.StoredInput(1, "fc-1", 0, "fu-1", b"in", None)
    await world.database.submit(stored.add([stored.StoredCall("fc-1", "fu-1", None, None, 1.0, 1)], [row]))
    call = world.call("spawn")
    waiter = world.deliveries.wait(call.id, 0).output
    world.arrive({"fc-1:0": ok(b"v")})
    world.deliveries._acknowledge()
    assert not world.agent.sent
    assert (await waiter).payload == b"v"
    assert await world.acknowledged() == [1]
    assert not world.deliveries.calls
    kept = stored.StoredOutput(0, "ok", b"v", None)
    assert await world.database.submit(stored.outputs("fc-1", 0, 1, 1 << 20)) == [kept]


async def test_output_that_could_not_be_stored_stays_with_the_agent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> object:
        raise OSError("the disk is full")

    monkeypatch.setattr(stored, "finish", lambda *args: refuse)
    world.call("spawn")
    world.arrive({"fc-1:0": ok(b"v")})
    await world.database.submit(lambda connection: None)
    assert await world.acknowledged() == []


# -- callers that come and go ----------------------------------------------------------------------------------


async def test_output_waits_for_a_caller_who_comes_back(world: World) -> None:
    call = world.call("map", 2)
    call.channel = None
    world.arrive({"fc-1:0": ok(b"v")})
    assert world.delivered() == []
    call.channel = world.caller
    assert world.deliveries.add(call, 0, b"in", None) is None
    assert world.deliveries.add(call, 1, b"in", None) is None  # it runs
    world.deliveries.settle()
    assert world.delivered() == [(0, "ok", b"v", None)]


async def test_output_for_nobody_waits_for_who_will_ask(world: World) -> None:
    world.arrive({"fc-9:0": ok(b"v")})
    assert await world.acknowledged() == []
    call = Call("fc-9", "fu-1", "map", "user", world.caller)
    world.deliveries.open(call)
    assert world.deliveries.add(call, 0, b"in", None) is None
    world.deliveries.settle()
    assert world.delivered() == [(0, "ok", b"v", None)]
    assert await world.acknowledged() == [1]


async def test_first_output_for_nobody_stays_and_counts_once(world: World) -> None:
    for value in (b"first", b"second", b"third"):
        world.arrive({"fc-9:0": ok(value)})
    world.deliveries.expire_unclaimed(-1)
    assert world.deliveries._unclaimed_bytes == 0
    world.deliveries.settle()
    assert await world.acknowledged() == [3]


async def test_output_that_nobody_asks_for_expires(world: World) -> None:
    world.blobs.write(BLOB, 0, 1, b"x")
    world.arrive({"fc-9:0": ok(b"", BLOB)})
    world.deliveries.expire_unclaimed(60)
    assert world.blobs.has(BLOB)
    world.deliveries.expire_unclaimed(-1)
    assert not world.blobs.has(BLOB)
    world.deliveries.settle()
    assert await world.acknowledged() == [1]


async def test_forgotten_calls_leave_nothing(world: World) -> None:
    call = world.call("map", 2)
    world.blobs.write(BLOB, 0, 1, b"x")
    world.deliveries.add(call, 2, b"", BLOB)
    call.channel = None
    world.arrive({"fc-1:0": ok(b"v")})
    assert sorted(world.deliveries.forget(call)) == ["fc-1:1", "fc-1:2"]
    assert not world.deliveries.calls
    assert not world.deliveries.inputs
    assert not world.blobs.has(BLOB)
    assert world.deliveries.forget(call) == ["fc-1:1", "fc-1:2"]  # harmless


async def test_an_input_is_known_by_its_key(world: World) -> None:
    call = world.call("map")
    assert world.deliveries.add(call, 0, b"in", None) is None


async def test_blob_of_an_argument_goes_with_its_output(world: World) -> None:
    world.blobs.write(BLOB, 0, 1, b"x")
    call = Call("fc-1", "fu-1", "map", "user", world.caller)
    world.deliveries.open(call)
    world.deliveries.add(call, 0, b"", BLOB)
    world.arrive({"fc-1:0": ok(b"v")})
    assert not world.blobs.has(BLOB)


async def test_failures_of_the_server_are_delivered_too(world: World) -> None:
    world.call("sync")
    world.deliveries.finish("fc-1:0", Output("internal", b"why", None))
    world.deliveries.finish("fc-1:0", Output("internal", b"again", None))
    await asyncio.sleep(0)
    assert world.delivered() == [(0, "internal", b"why", None)]


# -- slow readers ----------------------------------------------------------------------------------------------


async def test_large_outputs_of_a_slow_reader_go_to_disk(world: World) -> None:
    call = world.call("map", 3)
    world.caller.waiting = deliveries_.SPILL_BYTES
    large = bytes(deliveries_.SPILL_OUTPUT_BYTES)
    world.arrive({"fc-1:0": ok(large), "fc-1:1": ok(b"small"), "fc-1:2": Output("exception", large, None)})
    (_, _, first, blob), small, (_, status, _, other) = world.delivered()
    assert first == b""
    assert blob is not None and world.blobs.read(blob, 0, 1 << 20)[0] == large
    assert small == (1, "ok", b"small", None)
    assert status == "exception" and other is not None
    world.deliveries.forget(call)
    assert not world.blobs.has(blob) and not world.blobs.has(other)


async def test_large_outputs_wait_in_memory_if_the_disk_is_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> int:
        raise OSError("the disk is full")

    monkeypatch.setattr(world.blobs, "write", full)
    world.call("map", 2)
    world.caller.waiting = deliveries_.SPILL_BYTES
    large = bytes(deliveries_.SPILL_OUTPUT_BYTES)
    world.arrive({"fc-1:0": ok(large)})
    world.arrive({"fc-1:1": ok(b"v")})
    assert world.delivered() == [(0, "ok", large, None), (1, "ok", b"v", None)]


async def test_container_that_is_gone_is_not_acknowledged_to(world: World) -> None:
    world.call("map")
    world.arrive({"fc-1:0": ok(b"v")})
    world.deliveries.drop_container(world.container)
    assert await world.acknowledged() == []


def test_keys() -> None:
    assert split_key(key_of("fc-1", 7)) == ("fc-1", 7)
    for wrong in ("", "fc-1", "fc-1:", "fc-1:x"):
        with pytest.raises(ValueError, match="invalid literal"):
            split_key(wrong)


async def test_output_of_a_caller_who_is_away_is_kept_by_the_agent_until_he_has_it(world: World) -> None:
    call = world.call("sync")
    call.channel = None
    world.arrive({"fc-1:0": ok(b"v")})
    assert await world.acknowledged() == []
    call.channel = world.caller
    assert world.deliveries.add(call, 0, b"in", None) is None
    world.deliveries.settle()
    assert world.delivered() == [(0, "ok", b"v", None)]
    assert await world.acknowledged() == [1]


async def test_output_is_safe_although_later_ones_wait_in_the_connection(world: World) -> None:
    world.call("map", 2)
    world.caller.written = 100
    world.arrive({"fc-1:0": ok(b"v")})
    world.caller.written, world.caller.waiting = 150, 50  # what was written since is still waiting
    assert await world.acknowledged() == [1]


async def test_failed_commit_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries_, "STORE_AGAIN_S", 0.001)
    call = world.call("spawn")
    failures = [OSError("disk full")]
    submit = world.database.submit

    def failing(change: object) -> object:
        if failures:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(failures.pop())
            return future
        return submit(change)  # type: ignore[arg-type]

    monkeypatch.setattr(world.database, "submit", failing)
    world.arrive({"fc-1:0": ok(b"v")})
    assert call.open == {0}
    for _ in range(200):
        await asyncio.sleep(0.005)
        if not call.open:
            break
    assert not call.open
    assert await world.acknowledged() == [1]


async def test_argument_of_a_spawned_input_stays_until_its_output_is_stored(world: World) -> None:
    call = Call("fc-1", "fu-1", "spawn", "user", world.caller)
    world.deliveries.open(call)
    world.blobs.write(BLOB, 0, 1, b"x")
    world.deliveries.add(call, 0, b"", BLOB)
    world.arrive({"fc-1:0": ok(b"v")})
    assert world.blobs.has(BLOB)
    for _ in range(200):
        await asyncio.sleep(0.005)
        if not call.open:
            break
    assert not world.blobs.has(BLOB)

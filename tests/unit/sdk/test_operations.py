"""What each way of calling says on the wire, and that a lost connection loses and doubles nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from modicum import _context, _operations, _results
from modicum._exchange import ConnectionLost, Item, Pull, Receive, Reconnect, Request, Send
from modicum.exception import (
    ExecutionError,
    FunctionTimeoutError,
    InternalFailure,
    NotFoundError,
    RemoteError,
    ResourceExhaustedError,
    ServiceError,
)
from modicum.types import InputStatus
from modicum.wire.messages import AHEAD_PIECES
from modicum.wire.values import dump_exception, dumps
from tests.unit.sdk.driver import LIMIT, Named, Server

CALL = "fc-1"
LARGE = 3 * LIMIT + 5


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("_operations.INLINE_BYTES_MAX", "_blobs.PAYLOAD_BYTES_MAX"):
        monkeypatch.setattr(f"modicum.{place}", LIMIT)
    monkeypatch.setattr("modicum._operations.OUTSTANDING_BYTES_MAX", 32 * LIMIT)


def arguments(*args: Any) -> bytes:
    return dumps((args, {}))


def encode(value: Any) -> bytes:
    return arguments(value)


def double(x: Any) -> Any:
    return x * 2


def mapped(
    server: Server, inputs: Iterator[Any], order_outputs: bool = True, return_exceptions: bool = False
) -> Generator[Any, None, Any]:
    server.values = inputs
    return server.drive(_operations.map_(Named("fu-1"), CALL, encode, order_outputs, return_exceptions))


def steps_of(run: Any) -> int:
    """Return how many steps an undisturbed run takes."""
    server = Server(double)
    run(server)
    return server.steps


# -- remote ----------------------------------------------------------------------------------------------------


def test_remote_sends_one_frame() -> None:
    server = Server(double)
    assert server.run(_operations.remote(Named("fu-1"), CALL, arguments(21))) == 42
    ((header, payload),) = server.sent
    assert header == {
        "t": "call.inputs",
        "call": CALL,
        "function": "fu-1",
        "kind": "sync",
        "first": 0,
        "sizes": [len(payload)],
    }
    assert payload == arguments(21)


@pytest.mark.parametrize("lost", range(1, 12))
def test_remote_with_large_values_survives_a_loss_at_every_step(lost: int) -> None:
    def run(server: Server) -> None:
        assert server.run(_operations.remote(Named("fu-1"), CALL, arguments(bytes(LARGE)))) == bytes(2 * LARGE)

    assert steps_of(run) < 12
    server = Server(double, lose_at=(lost,))
    run(server)
    assert server.reconnects == (lost < steps_of(run))  # the last says that the value may go: nobody needs to know
    assert len(server.ran) == (2 if lost == 3 else 1)  # the third step brings the output, or loses it


class Forgetful(Server):
    """Loses its blobs with each connection."""

    def perform(self, exchange: object) -> Any:
        if isinstance(exchange, Reconnect):
            self.blobs.clear()
        return super().perform(exchange)


def test_remote_runs_again_if_its_large_value_went_with_the_server() -> None:
    server = Forgetful(bytes, lose_at=(3,))
    assert server.run(_operations.remote(Named("fu-1"), CALL, arguments(LARGE))) == bytes(LARGE)
    assert server.ran == [(CALL, 0)] * 2


def test_map_runs_again_only_what_went_with_the_server() -> None:
    sizes = [1, LARGE, 2, LARGE]
    server = Forgetful(bytes, lose_at=(5,))
    assert list(mapped(server, iter(sizes))) == [bytes(size) for size in sizes]
    assert [index for _, index in server.ran].count(0) == 1
    assert [index for _, index in server.ran].count(1) == 2


def test_remote_tells_when_its_large_value_may_go() -> None:
    server = Server(double)
    server.run(_operations.remote(Named("fu-1"), CALL, arguments(bytes(LIMIT))))
    assert server.sent[-1][0] == {"t": "call.forget", "call": CALL}


def test_remote_survives_losses_in_a_row() -> None:
    server = Server(double, lose_at=(1, 3, 6))
    assert server.run(_operations.remote(Named("fu-1"), CALL, arguments(1))) == 2
    assert server.reconnects == 3


def test_remote_raises_what_the_function_raised() -> None:
    server = Server(lambda x: 1 // x)
    with pytest.raises(ZeroDivisionError):
        server.run(_operations.remote(Named("fu-1"), CALL, arguments(0)))


def answer_with(header: dict[str, Any], payload: bytes = b"") -> Any:
    """Run a remote call that is answered with this frame."""
    operation = _operations.remote(Named("fu-1"), CALL, b"")
    assert isinstance(next(operation), Send)
    assert isinstance(operation.send(None), Receive)
    try:
        operation.send((header, payload))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it goes on")


@pytest.mark.parametrize(
    ("status", "kind"), [("timeout", FunctionTimeoutError), ("internal", InternalFailure), ("terminated", RemoteError)]
)
def test_ends_without_an_exception(status: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="why"):
        answer_with({"t": "call.outputs", "outputs": [[0, status, 3, None]]}, b"why")


def test_refused_call() -> None:
    with pytest.raises(NotFoundError, match="gone"):
        answer_with({"t": "call.failed", "call": CALL, "code": "not_found", "message": "gone"})
    with pytest.raises(ServiceError, match="odd"):
        answer_with({"t": "call.failed", "call": CALL, "code": "something new", "message": "odd"})


def test_value_that_cannot_be_loaded() -> None:
    with pytest.raises(ExecutionError, match=r"cannot be loaded here.*packages"):
        answer_with({"t": "call.outputs", "outputs": [[0, "ok", 4, None]]}, b"junk")


class Contrary(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def test_exception_that_cannot_be_pickled() -> None:
    payload = dump_exception(Contrary("one", "two"))
    with pytest.raises(RemoteError, match="Contrary: one"):
        answer_with({"t": "call.outputs", "outputs": [[0, "exception", len(payload), None]]}, payload)


# -- spawn and get ---------------------------------------------------------------------------------------------


def test_spawn_returns_when_it_is_answered() -> None:
    operation = _operations.spawn(Named("fu-1"), CALL, arguments(1))
    exchange = next(operation)
    assert isinstance(exchange, Request)
    assert exchange.messages[0][0]["kind"] == "spawn"
    with pytest.raises(StopIteration):
        operation.send([({"t": "reply"}, b"")])


@pytest.mark.parametrize("lost", range(1, 8))
def test_spawn_and_get_survive_a_loss_at_every_step(lost: int) -> None:
    server = Server(double, lose_at=(lost,))
    server.run(_operations.spawn(Named("fu-1"), CALL, arguments(bytes(LARGE))))
    assert server.run(_results.get(CALL, 0, None)) == bytes(2 * LARGE)
    assert list(server.stored) == [(CALL, 0)]


def test_get_does_not_free_the_value() -> None:
    server = Server(double)
    server.run(_operations.spawn(Named("fu-1"), CALL, arguments(bytes(LARGE))))
    server.run(_results.get(CALL, 0, None))
    server.run(_results.get(CALL, 0, 0))
    assert not [header for header, _ in server.sent if header["t"] in ("blob.free", "call.forget")]


def test_get_of_a_call_that_never_was() -> None:
    with pytest.raises(NotFoundError):
        Server(double).run(_results.get(CALL, 0, None))


def test_get_waits_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("modicum._results.time.monotonic", lambda: now)
    operation = _results.get(CALL, 0, 60.0)
    pending = [({"outputs": [], "why": "no node"}, b"")]
    assert next(operation).messages[0][0]["wait_s"] == 55.0  # type: ignore[attr-defined]
    now = 155.0
    assert operation.send(pending).messages[0][0]["wait_s"] == 5.0  # type: ignore[attr-defined]
    now = 160.0
    with pytest.raises(TimeoutError, match=f"the call {CALL} has no output yet: no node"):
        operation.send(pending)


def test_get_without_patience_asks_once() -> None:
    operation = _results.get(CALL, 0, 0)
    assert next(operation).messages[0][0]["wait_s"] == 0.0  # type: ignore[attr-defined]
    with pytest.raises(TimeoutError):
        operation.send([({"outputs": [], "why": ""}, b"")])


# -- calls of many inputs ----------------------------------------------------------------------------------------


def spread(values: tuple[Any, ...]) -> bytes:
    return dumps((values, {}))


def spawn_mapped(server: Server, values: list[Any]) -> None:
    server.values = iter([(value,) for value in values])
    server.run(_operations.spawn_map(Named("fu-1"), CALL, spread))


@pytest.mark.parametrize("lost", range(1, 30))
def test_spawn_map_and_iter_survive_a_loss_at_every_step(lost: int) -> None:
    inputs = [n if n % 40 else [n] * LIMIT for n in range(100)]  # some are large, both ways
    server = Server(lambda x: x if isinstance(x, int) else bytes(LIMIT) + bytes([x[0]]), (lost, lost + 7))
    spawn_mapped(server, inputs)
    assert sorted(server.stored) == [(CALL, index) for index in range(100)]
    got = list(server.drive(_results.iterate(CALL, 0, None)))
    assert got == [n if n % 40 else bytes(LIMIT) + bytes([n]) for n in range(100)]


def test_spawn_map_stores_much_at_once() -> None:
    server = Server(double)
    spawn_mapped(server, list(range(5000)))
    frames = [header for header, _ in server.sent if header["t"] == "call.inputs"]
    assert sum(len(header["sizes"]) for header in frames) == 5000
    requests = [header["first"] for header in frames if header["first"] % _operations.SPAWN_INPUTS == 0]
    assert requests == [0, 1024, 2048, 3072, 4096]


def test_spawn_map_of_nothing_is_a_call() -> None:
    server = Server(double)
    spawn_mapped(server, [])
    (header,) = [header for header, _ in server.sent]
    assert (header["call"], header["sizes"]) == (CALL, [])


def test_spawn_map_waits_for_a_function_that_has_too_many() -> None:
    operation = _operations.spawn_map(Named("fu-1"), CALL, spread)
    assert isinstance(next(operation), Pull)
    request = operation.send(([(1,)], True))
    assert isinstance(request, Request)
    with pytest.warns(UserWarning, match="a million; waiting for that"):
        pause = operation.throw(ResourceExhaustedError("a million"))
    assert isinstance(pause, Receive) and pause.timeout_s == 1.0
    assert isinstance(operation.send(None), Request)
    pause = operation.throw(ResourceExhaustedError("a million"))
    assert isinstance(pause, Receive) and pause.timeout_s == 2.0
    assert isinstance(operation.send(None), Request)
    with pytest.raises(StopIteration):
        operation.send([({"t": "reply"}, b"")])


@pytest.mark.parametrize(("start", "end", "expected"), [(0, None, [0, 2, 4, 6]), (1, 3, [2, 4]), (4, 4, [])])
def test_iter_of_a_range(start: int, end: int | None, expected: list[int]) -> None:
    server = Server(double)
    spawn_mapped(server, [0, 1, 2, 3])
    assert list(server.drive(_results.iterate(CALL, start, end))) == expected


@pytest.mark.parametrize(("start", "end"), [(-1, None), (0, 5)])
def test_iter_of_what_is_not_there(start: int, end: int | None) -> None:
    server = Server(double)
    spawn_mapped(server, [0, 1, 2, 3])
    with pytest.raises(ValueError, match=f"Invalid index range: {start} to {end or 4} for 4 inputs"):
        list(server.drive(_results.iterate(CALL, start, end)))


def test_iter_raises_at_its_place() -> None:
    def odd_fails(x: int) -> int:
        if x % 2:
            raise ValueError(str(x))
        return x

    server = Server(odd_fails)
    spawn_mapped(server, [0, 2, 3])
    results = server.drive(_results.iterate(CALL, 0, None))
    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)


@pytest.mark.parametrize("lost", range(1, 10))
def test_gather_gives_values_in_the_order_of_its_calls(lost: int) -> None:
    server = Server(double, lose_at=(lost,))
    for number in range(3):
        server.run(_operations.spawn(Named("fu-1"), f"fc-{number}", arguments(number)))
    server.steps = 0
    assert server.run(_results.gather(["fc-2", "fc-0", "fc-2", "fc-1"])) == [4, 0, 4, 2]
    assert server.run(_results.gather([])) == []


def test_gather_raises_what_fails_first() -> None:
    operation = _results.gather(["fc-1", "fc-2"])
    asked = next(operation)
    assert isinstance(asked, Request) and asked.messages[0][0]["calls"] == ["fc-1", "fc-2"]
    asked = operation.send([({"ready": ["fc-2"]}, b"")])
    assert isinstance(asked, Request) and asked.messages[0][0]["call"] == "fc-2"
    payload = dump_exception(ValueError("enough"))
    with pytest.raises(ValueError, match="enough"):
        operation.send([({"outputs": [[0, "exception", len(payload), None]]}, payload)])


def test_a_call_graph_is_a_tree() -> None:
    operation = _results.graph("fc-b")
    next(operation)
    inputs = [
        ["fc-a:0", None, "ok", "ta-1", "main", "m"],
        ["fc-b:0", "fc-a:0", "exception", "ta-2", "f", "m"],
        ["fc-b:1", "fc-a:0", None, None, "f", "m"],
        ["fc-c:0", "fc-b:1", "terminated", None, "g", "m"],
    ]
    with pytest.raises(StopIteration) as stopped:
        operation.send([({"inputs": inputs, "truncated": False}, b"")])
    (root,) = stopped.value.value
    assert (root.input_id, root.function_call_id, root.task_id) == ("in-a-0", "fc-a", "ta-1")
    assert (root.status, root.function_name, root.module_name) == (InputStatus.SUCCESS, "main", "m")
    failed, pending = root.children
    assert (failed.status, failed.children) == (InputStatus.FAILURE, [])
    assert (pending.status, pending.task_id) == (InputStatus.PENDING, "")
    assert [each.status for each in pending.children] == [InputStatus.TERMINATED]


def test_an_input_names_the_one_that_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_context, "_key", "fc-outer:3")
    server = Server(double)
    server.run(_operations.remote(Named("fu-1"), CALL, arguments(1)))
    assert server.sent[0][0]["parent"] == "fc-outer:3"


# -- map -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("lost", range(1, 30))
def test_map_survives_a_loss_at_every_step(lost: int, ordered: bool) -> None:
    inputs = [n if n % 40 else [n] * LIMIT for n in range(100)]  # some are large, both ways
    server = Server(lambda x: x if isinstance(x, int) else bytes(LIMIT) + bytes([x[0]]), (lost, lost + 7))
    got = list(mapped(server, iter(inputs), ordered))
    expected = [n if n % 40 else bytes(LIMIT) + bytes([n]) for n in range(100)]
    if ordered:
        assert got == expected
    else:
        assert sorted(map(repr, got)) == sorted(map(repr, expected))


def test_map_sends_again_exactly_what_has_no_answer() -> None:
    server = Server(double)
    operation = _operations.map_(Named("fu-1"), CALL, encode, True, False)
    answer: Any = None
    server.values = iter(range(10))
    while not isinstance(exchange := operation.send(answer), Receive):
        answer = server.perform(exchange)
    for _ in range(4):  # it answers four, and is gone
        exchange = operation.send(server.outgoing.popleft())
        while isinstance(exchange, Item):
            exchange = operation.send(None)
        assert isinstance(exchange, Receive)
    server.sent.clear()
    assert isinstance(operation.throw(ConnectionLost()), Reconnect)
    assert isinstance(operation.send(None), Receive)  # what came before; there is nothing
    again = operation.send(None)
    assert isinstance(again, Send)
    assert again.messages[0][0]["first"] == 4
    assert len(again.messages[0][0]["sizes"]) == 6


def test_map_takes_what_has_come_before_it_sends_again() -> None:
    """Around a lost connection: the rest of a frame, and the frames behind it."""
    operation = _operations.map_(Named("fu-1"), CALL, encode, True, False)
    next(operation)
    operation.send(([1, 2, 3], True))
    operation.send(None)
    one = dumps(10)
    frame = {"t": "call.outputs", "outputs": [[0, "ok", 0, "bl-1"], [1, "ok", len(one), None]]}, one
    assert isinstance(operation.send(frame), Request)
    assert isinstance(operation.throw(ConnectionLost()), Reconnect)
    again = operation.send(None)
    assert isinstance(again, Request)
    assert again.messages[0][0] == {"t": "blob.get", "blob": "bl-1", "offset": 0}
    assert isinstance(operation.send([({"total": len(one)}, one)]), Send)  # it may be freed
    assert isinstance(operation.send(None), Receive)
    assert isinstance(operation.send(({"t": "call.outputs", "outputs": [[2, "ok", len(one), None]]}, one)), Receive)
    items = [operation.send(None)]
    items += [operation.send(None) for _ in range(2)]
    assert [item.value for item in items if isinstance(item, Item)] == [10, 10, 10]
    assert operation.send(None).messages[0][0]["t"] == "call.forget"  # type: ignore[attr-defined]


def test_map_gives_what_it_has_before_it_reconnects() -> None:
    """An output was taken from a frame whose next output is a blob, which cannot be read any longer."""
    operation = _operations.map_(Named("fu-1"), CALL, encode, True, False)
    assert isinstance(next(operation), Pull)
    assert isinstance(operation.send(([1, 2], True)), Send)
    operation.send(None)
    one = dumps(10)
    frame = {"t": "call.outputs", "outputs": [[0, "ok", len(one), None], [1, "ok", 0, "bl-1"]]}, one
    assert isinstance(operation.send(frame), Request)
    item = operation.throw(ConnectionLost())
    assert isinstance(item, Item)
    assert item.value == 10
    assert isinstance(operation.send(None), Reconnect)


def test_map_ignores_an_output_that_comes_twice() -> None:
    server = Server(double)
    results = mapped(server, iter(range(3)))
    assert next(results) == 0
    server.outgoing.append(server.output(CALL, 0, "ok", dumps("again")))
    assert list(results) == [2, 4]


def test_map_orders_outputs_unless_told_otherwise() -> None:
    for ordered, expected in ((True, list(range(10))), (False, list(reversed(range(10))))):
        server = Server(lambda x: x)
        server.out_of_order = True
        assert list(mapped(server, iter(range(10)), ordered)) == expected


def test_map_of_nothing_asks_nothing() -> None:
    server = Server(double)
    assert list(mapped(server, iter([]))) == []
    assert [header["t"] for header, _ in server.sent] == ["call.forget"]


def test_map_reads_a_window_ahead() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = mapped(Server(double), endless())
    assert next(results) == 2
    assert taken <= _operations.OUTSTANDING_MAX + _operations.BATCH_INPUTS
    results.close()


def test_map_holds_few_bytes() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(900)

    server = Server(len)
    operation = _operations.map_(Named("fu-1"), CALL, encode, True, False)
    server.values = endless()
    answer: Any = None
    while not (isinstance(exchange := operation.send(answer), Receive) and exchange.timeout_s is None):
        answer = None if isinstance(exchange, Receive) else server.perform(exchange)
    assert taken <= _operations.OUTSTANDING_BYTES_MAX // 900 + _operations.BATCH_INPUTS


def test_map_raises_at_its_place_or_gives_it() -> None:
    def odd_fails(x: int) -> int:
        if x % 2:
            raise ValueError(x)
        return x

    results = mapped(Server(odd_fails), iter([0, 2, 3, 4]))
    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
    got = list(mapped(Server(odd_fails), iter([0, 1, 2]), return_exceptions=True))
    assert got[::2] == [0, 2]
    assert isinstance(got[1], ValueError)


def test_map_lets_errors_of_its_iterable_through() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(mapped(Server(double), broken()))


def test_neighbours_share_a_frame_until_it_is_full() -> None:
    server = Server(len)
    half = bytes(LIMIT // 2)
    assert list(mapped(server, iter([b"", b"a", half, half, b"b"]))) == [0, 1, len(half), len(half), 1]
    assert [header["first"] for header, _ in server.sent if header["t"] == "call.inputs"] == [0, 3]


# -- generators ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", range(1, 60))
def test_generator_survives_a_loss_at_every_step(lost: int) -> None:
    server = Server(lambda n: (f"item {k}" for k in range(n)), (lost, lost + 5))
    items = list(server.drive(_operations.generate(Named("fu-1"), CALL, arguments(12))))
    assert items == [f"item {k}" for k in range(12)]
    asked = [header["pieces"] for header, _ in server.sent if header["t"] == "call.inputs"]
    assert asked == sorted(asked)


def test_generator_acknowledges_before_the_window_is_full() -> None:
    count = 2 * AHEAD_PIECES
    server = Server(lambda n: (f"item {k}" for k in range(n)))
    assert len(list(server.drive(_operations.generate(Named("fu-1"), CALL, arguments(count))))) == count
    acknowledged = [header["pieces"] for header, _ in server.sent if header["t"] == "call.ack"]
    gaps = [after - before for before, after in zip([0, *acknowledged], acknowledged)]
    assert acknowledged
    assert max(gaps) < AHEAD_PIECES


def test_generator_that_fails() -> None:
    operation = _operations.generate(Named("fu-1"), CALL, b"")
    next(operation)
    operation.send(None)
    payload = dump_exception(ValueError("enough"))
    with pytest.raises(ValueError, match="enough"):
        operation.send(({"t": "call.outputs", "outputs": [[0, "exception", len(payload), None]]}, payload))


def test_generator_whose_end_comes_before_its_last_items() -> None:
    operation = _operations.generate(Named("fu-1"), CALL, b"")
    next(operation)
    operation.send(None)
    end = dumps(2)
    assert isinstance(operation.send(({"t": "call.outputs", "outputs": [[0, "done", len(end), None]]}, end)), Receive)
    got: list[object] = []
    exchange: object = None
    for number in range(2):
        item = operation.send(({"t": "call.piece", "piece": number, "end": True}, dumps(number)))
        assert isinstance(item, Item)
        got.append(item.value)
        exchange = operation.send(None)
    assert got == [0, 1]
    assert isinstance(exchange, Send)
    assert exchange.messages[0][0] == {"t": "call.forget", "call": CALL}
    with pytest.raises(StopIteration):
        operation.throw(ConnectionLost())

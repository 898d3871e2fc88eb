"""What an agent keeps, sends again and forgets, and how its link comes back."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum.agent import outputs as outputs_
from modicum.agent.aio import Loop
from modicum.agent.blobs import BlobLost, fetch, store
from modicum.agent.link import Link
from modicum.agent.loop import Agent
from modicum.agent.pieces import Pieces, cut
from modicum.agent.service import Service, Target
from modicum.exception import DeserializationError, InputCancellation, SerializationError
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Frame, Header, encode
from modicum.wire.messages import AHEAD_BYTES, AHEAD_PIECES, INLINE_BYTES_MAX
from modicum.wire.values import dumps, load_exception, loads
from tests.unit.agent.peer import Server, in_thread


def serve_sync(agent: Agent, function: Any, generator: bool) -> None:
    agent.serve(lambda item: (function, generator))


def serve_async(agent: Agent, function: Any, generator: bool) -> None:
    Loop(agent, Service({None: Target(function, generator, is_async=True)}, {"name": "f"})).start()()


# -- the link --------------------------------------------------------------------------------------------------


def test_what_is_kept_is_sent_again_until_it_is_forgotten(server: Server, link: Link) -> None:
    link.send({"t": "once"})
    for number in range(3):
        link.send_kept(number, {"t": "kept", "n": number}, b"%d" % number)
    assert [server.receive()[0]["t"] for _ in range(4)] == ["once", "kept", "kept", "kept"]
    link.forget([1, "never there"])
    server.drop()
    link._fill()
    assert server.accept() == {"t": "hello"}
    assert [server.receive() for _ in range(2)] == [({"t": "kept", "n": 0}, b"0"), ({"t": "kept", "n": 2}, b"2")]
    assert server.quiet()
    link.resend([2, 1])
    assert server.receive()[0]["n"] == 2
    assert server.quiet()


def test_sending_to_nobody_is_no_error(server: Server, link: Link) -> None:
    server.drop()
    link.send({"t": "lost"})
    link.send_kept("k", {"t": "kept"}, b"")
    link._fill()
    server.accept()
    assert server.receive()[0] == {"t": "kept"}


def test_half_a_frame_of_the_old_connection_is_not_mixed_with_the_new(server: Server, link: Link) -> None:
    assert server.connection is not None
    server.connection.sendall(encode({"t": "run"}, b"payload")[:-3])
    link._fill()
    server.drop()
    link._fill()
    server.accept()
    server.send({"t": "exit"})
    assert link.receive() == ({"t": "exit"}, b"")


def test_it_waits_for_a_server_that_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[Server] = []
    monkeypatch.setattr("modicum.agent.link.time.sleep", lambda seconds: servers.append(Server(tmp_path)))
    link = Link(str(tmp_path), lambda: {"t": "hello"}, lambda: None)
    assert servers[0].accept() == {"t": "hello"}
    link._socket.close()
    servers[0].drop()
    servers[0].listener.close()


def test_requests_survive_a_lost_connection(server: Server, link: Link) -> None:
    """The main thread asks; the reading thread, here the test, passes the answers on."""
    thread, results = in_thread(lambda: link.request((({"t": "a"}, b""), ({"t": "b"}, b""))))
    numbers = [server.receive()[0]["r"] for _ in range(2)]
    server.drop()
    link._fill()
    server.accept()
    assert [server.receive()[0]["r"] for _ in range(2)] == numbers
    for number in reversed(numbers):
        server.send({"t": "reply", "r": number, "of": number})
    server.send({"t": "exit"})
    assert link.receive()[0] == {"t": "exit"}
    thread.join(5)
    assert [header["of"] for header, _ in results[0]] == numbers
    assert not link._kept
    assert not link._answers


# -- pieces ----------------------------------------------------------------------------------------------------


def test_cutting() -> None:
    assert list(cut(b"")) == [(b"", True)]
    assert list(cut(b"ab")) == [(b"ab", True)]
    assert [(len(chunk), end) for chunk, end in cut(bytes(PAYLOAD_BYTES_MAX))] == [(PAYLOAD_BYTES_MAX, True)]
    assert [(len(chunk), end) for chunk, end in cut(bytes(PAYLOAD_BYTES_MAX + 1))] == [
        (PAYLOAD_BYTES_MAX, False),
        (1, True),
    ]


class Recorder:
    """A link that only remembers."""

    def __init__(self) -> None:
        self.kept: dict[object, Header] = {}
        self.again: list[object] = []

    def send_kept(self, name: object, header: Header, payload: bytes) -> None:
        self.kept[name] = header

    def forget(self, names: list[object]) -> None:
        for name in names:
            del self.kept[name]

    def resend(self, names: list[object]) -> None:
        self.again += names


def test_window_of_pieces() -> None:
    recorder = Recorder()
    pieces = Pieces(recorder, "fc-1:0")  # type: ignore[arg-type]
    for _ in range(AHEAD_PIECES):
        assert pieces.has_room()
        pieces.send_nowait(b"x", True)
    assert not pieces.has_room()
    pieces.acknowledged(1)
    assert pieces.has_room()
    assert len(recorder.kept) == AHEAD_PIECES - 1
    pieces.acknowledged(1)
    pieces.acknowledged(0)
    assert len(recorder.kept) == AHEAD_PIECES - 1
    pieces.acknowledged(10**9)
    assert not recorder.kept
    pieces.send_nowait(b"y", True)
    assert list(recorder.kept) == [("fc-1:0", AHEAD_PIECES)]


def test_window_of_bytes() -> None:
    pieces = Pieces(Recorder(), "fc-1:0")  # type: ignore[arg-type]
    chunk = bytes(PAYLOAD_BYTES_MAX)
    for _ in range(AHEAD_BYTES // PAYLOAD_BYTES_MAX):
        assert pieces.has_room()
        pieces.send_nowait(chunk, False)
    assert not pieces.has_room()
    pieces.acknowledged(1)
    assert pieces.has_room()


def test_sending_blocks_until_the_reader_follows() -> None:
    recorder = Recorder()
    pieces = Pieces(recorder, "fc-1:0")  # type: ignore[arg-type]

    def send() -> None:
        for _ in range(AHEAD_PIECES + 1):
            pieces.send(b"x")

    thread, _ = in_thread(send)
    thread.join(0.05)
    assert thread.is_alive()
    pieces.acknowledged(1)
    thread.join(5)
    assert not thread.is_alive()
    assert recorder.kept["fc-1:0", AHEAD_PIECES]["piece"] == AHEAD_PIECES


def test_sending_ends_when_nobody_reads_any_longer() -> None:
    pieces = Pieces(Recorder(), "fc-1:0")  # type: ignore[arg-type]

    def send() -> BaseException:
        try:
            for _ in range(AHEAD_PIECES + 1):
                pieces.send(b"x")
        except InputCancellation as error:
            return error
        raise AssertionError("it was not told")

    thread, results = in_thread(send)
    thread.join(0.05)
    assert thread.is_alive()
    pieces.cancel()
    thread.join(5)
    assert isinstance(results[0], InputCancellation)


def test_only_what_has_not_arrived_is_sent_again() -> None:
    recorder = Recorder()
    pieces = Pieces(recorder, "k")  # type: ignore[arg-type]
    for _ in range(5):
        pieces.send_nowait(b"x", True)
    pieces.acknowledged(3)
    pieces.resend()
    assert recorder.again == [("k", 3), ("k", 4)]


# -- inputs and outputs ----------------------------------------------------------------------------------------


def give(agent: Agent, *keys: str, attempt: int = 1) -> None:
    agent._on_run({"inputs": [[key, attempt, 1, None] for key in keys]}, b"x" * len(keys))


def finish(agent: Agent, value: bytes = b"v") -> None:
    item = agent.take()
    assert item is not None
    agent.finish(item[0], item[1], "ok", 0.001, value, False)


def holding(agent: Agent) -> list[str]:
    return [key for key, _ in agent._hello()["holding"]]


def test_it_holds_what_it_has_until_its_output_is_acknowledged(server: Server, agent: Agent) -> None:
    give(agent, "a", "b", "c", "d")
    assert holding(agent) == ["a", "b", "c", "d"]
    finish(agent)
    agent.take()  # b runs
    agent._on_take_back({"count": 1}, b"")
    assert holding(agent) == ["a", "b", "c"]
    header, _ = server.receive()
    assert [entry[0] for entry in header["outputs"]] == ["a"]
    assert server.receive()[0] == {"t": "agent.taken", "keys": ["d"]}
    agent._on_outputs_ack({"seq": header["seq"]}, b"")
    assert holding(agent) == ["b", "c"]


def test_a_new_connection_names_what_was_finished_and_brings_it_again(server: Server, agent: Agent) -> None:
    give(agent, "a", "b")
    finish(agent)
    finish(agent)
    server.drop()
    agent.link._fill()
    assert server.accept()["holding"] == [["a", 1], ["b", 1]]
    again = [server.receive()[0] for _ in range(2)]
    assert [entry[0] for header in again for entry in header["outputs"]] == ["a", "b"]
    agent._on_outputs_ack({"seq": again[-1]["seq"]}, b"")
    assert holding(agent) == []
    assert not agent.link._kept


def test_a_second_attempt_is_not_forgotten_with_the_first(server: Server, agent: Agent) -> None:
    give(agent, "a")
    finish(agent)
    give(agent, "a", attempt=2)
    agent._on_outputs_ack({"seq": 1}, b"")
    assert agent._hello()["holding"] == [["a", 2]]


def test_outputs_leave_together_while_more_is_queued(
    server: Server, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs_, "BATCH_S", 1e9)
    give(agent, *(str(n) for n in range(10)))
    for _ in range(9):
        finish(agent)
    agent.take()  # nothing is queued any longer, and it may run for long
    header, payload = server.receive()
    assert [entry[0] for entry in header["outputs"]] == [str(n) for n in range(9)]
    assert payload == b"v" * 9
    assert server.quiet()


@pytest.mark.parametrize(
    ("limit", "value", "size"),
    [("BATCH_INPUTS", 3, 1), ("BATCH_BYTES", 3, 1), ("BATCH_S", -1.0, 1), ("INLINE_BYTES_MAX", 3, 1)],
)
def test_outputs_do_not_wait_for_too_much_company(
    server: Server, agent: Agent, monkeypatch: pytest.MonkeyPatch, limit: str, value: float, size: int
) -> None:
    monkeypatch.setattr(outputs_, "BATCH_S", 1e9)
    monkeypatch.setattr(outputs_, limit, value)
    give(agent, *(str(n) for n in range(10)))
    for _ in range(4):
        finish(agent, b"v" * size)
    sent = len(server.receive()[0]["outputs"])
    assert sent == (1 if limit == "BATCH_S" else 3)


def test_what_is_taken_back_comes_from_the_end_and_is_never_run(server: Server, agent: Agent) -> None:
    give(agent, "a", "b", "c")
    assert (agent.take() or ("",))[0] == "a"
    agent._on_take_back({"count": 5}, b"")
    assert server.receive()[0]["keys"] == ["c", "b"]
    assert agent.take() is None
    agent._on_take_back({"count": 5}, b"")
    assert server.receive()[0]["keys"] == []


def test_pieces_of_a_finished_generator_are_kept_until_its_output_has_arrived(server: Server, agent: Agent) -> None:
    give(agent, "g")
    item = agent.take()
    assert item is not None
    status, value = agent._run_generator(lambda: iter(range(3)), ["g", 1, dumps(((), {})), None])
    assert (status, loads(value)) == ("done", 3)
    agent.finish("g", 1, status, 0.1, value, False)
    assert [server.receive()[0].get("piece") for _ in range(4)] == [0, 1, 2, None]
    agent._on_piece_resend({"key": "g", "pieces": 1}, b"")
    assert [server.receive()[0]["piece"] for _ in range(2)] == [1, 2]
    agent._on_outputs_ack({"seq": 1}, b"")
    assert not agent.link._kept
    assert not agent.pieces
    agent._on_piece_ack({"key": "g", "pieces": 3}, b"")  # harmless
    agent._on_piece_resend({"key": "g", "pieces": 3}, b"")
    assert server.quiet()


def test_a_generator_that_nobody_reads_ends_and_is_answered(server: Server, agent: Agent) -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    data = dumps(((), {}))
    agent._on_run({"inputs": [["g", 1, len(data), None]]}, data)
    in_thread(lambda: agent.serve(lambda item: (endless, True)))
    for _ in range(AHEAD_PIECES):
        assert server.receive()[0]["t"] == "agent.piece"
    agent._on_cancel_inputs({"keys": ["g"]}, b"")
    header, value = server.receive()
    assert header["outputs"][0][:3] == ["g", 1, "exception"]
    assert isinstance(load_exception(value), InputCancellation)
    assert closed.wait(5)
    agent._on_outputs_ack({"seq": header["seq"]}, b"")
    assert not agent._cancelled
    assert not agent.link._kept
    agent._on_cancel_inputs({"keys": ["g"]}, b"")  # too late: harmless
    assert not agent._cancelled
    agent._on_exit({}, b"")


def test_a_generator_may_be_given_up_before_it_begins(agent: Agent) -> None:
    give(agent, "g")
    assert agent.take() is not None
    agent._on_cancel_inputs({"keys": ["g"]}, b"")
    status, value = agent._run_generator(lambda: iter(range(3)), ["g", 1, dumps(((), {})), None])
    assert (status, type(load_exception(value))) == ("exception", InputCancellation)


def test_what_is_cancelled_in_the_queue_is_answered_and_never_run(server: Server, agent: Agent) -> None:
    give(agent, "a", "b", "c")
    agent._on_cancel_inputs({"keys": ["a", "c"]}, b"")
    item = agent.take()
    assert item is not None
    assert item[0] == "b"
    assert agent.take() is None
    agent._outputs.flush()
    entries = [entry for _ in range(2) for entry in server.receive()[0]["outputs"]]
    assert [entry[:3] for entry in entries] == [["a", 1, "exception"], ["c", 1, "exception"]]
    give(agent, "a", attempt=2)  # its caller has come back
    assert agent.take() == ["a", 2, b"x", None]


def test_an_async_input_may_be_cancelled_before_its_first_step(
    server: Server, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def double(x: int) -> int:
        return 2 * x

    take = agent.take

    def take_and_cancel() -> Any:
        item = take()
        if item is not None and item[0] == "a":
            agent._on_cancel_inputs({"keys": ["a"]}, b"")
        return item

    monkeypatch.setattr(agent, "take", take_and_cancel)
    data = dumps(((4,), {}))
    agent._on_run({"inputs": [["a", 1, len(data), None], ["b", 1, len(data), None]]}, data + data)
    thread, _ = in_thread(lambda: serve_async(agent, double, False))
    outputs: list[tuple[str, str]] = []
    while len(outputs) < 2:
        outputs += [(entry[0], entry[2]) for entry in server.receive()[0]["outputs"]]
    assert outputs == [("a", "exception"), ("b", "ok")]
    agent._on_exit({}, b"")
    thread.join(5)
    assert not thread.is_alive()


def test_functions_end_with_a_value_or_an_exception(agent: Agent) -> None:
    data = dumps(((2,), {"y": 3}))
    assert agent._run_function(lambda x, y: x * y, ["a", 1, data, None]) == ("ok", dumps(6))
    status, value = agent._run_function(lambda x: x, ["a", 1, data, None])
    assert (status, type(load_exception(value))) == ("exception", TypeError)
    status, value = agent._run_function(lambda x, y: exit(3), ["a", 1, data, None])
    assert (status, type(load_exception(value))) == ("exception", SystemExit)


def test_values_that_cannot_travel_say_so(agent: Agent) -> None:
    data = dumps(((), {}))

    def make_lock() -> object:
        return threading.Lock()

    status, value = agent._run_function(make_lock, ["a", 1, data, None])
    error = load_exception(value)
    assert (status, type(error)) == ("exception", SerializationError)
    assert "what 'make_lock' returned, a lock, cannot be sent to its caller: TypeError: cannot pickle" in str(error)
    assert isinstance(error.__cause__, TypeError)

    def yield_lock() -> Iterator[object]:
        yield threading.Lock()

    status, value = agent._run_generator(yield_lock, ["b", 1, data, None])
    assert "what 'yield_lock' yielded, a lock, cannot be sent to its caller" in str(load_exception(value))
    status, value = agent._run_function(make_lock, ["c", 1, b"cno_such_module\nname\n.", None])
    error = load_exception(value)
    assert (status, type(error)) == ("exception", DeserializationError)
    assert "cannot be loaded in the container: ModuleNotFoundError: No module named 'no_such_module'" in str(error)


def test_exit_wakes_whoever_waits(server: Server, agent: Agent) -> None:
    thread, _ = in_thread(lambda: agent.serve(lambda item: (lambda: None, False)))
    server.send({"t": "exit"})
    thread.join(5)
    assert not thread.is_alive()
    assert agent.exiting


# -- large values ----------------------------------------------------------------------------------------------


def serve_blobs(server: Server, link: Link, restarts: int = 0) -> dict[str, bytearray]:
    """Answer blob messages as a server would, on a thread each for the server and for the agent's reader."""
    blobs: dict[str, bytearray] = {}
    received: dict[str, set[int]] = {}

    def answer() -> None:
        nonlocal restarts
        while True:
            try:
                header, payload = server.receive()
            except (OSError, ValueError):
                return
            name, offset = header["blob"], header["offset"]
            if header["t"] == "blob.put":
                if offset > 0 and restarts:  # it was restarted: what came before does not count any longer
                    restarts -= 1
                    received.clear()
                data = blobs.setdefault(name, bytearray(header["total"]))
                data[offset : offset + len(payload)] = payload
                received.setdefault(name, set()).update(range(offset, offset + len(payload)))
                server.send({"t": "reply", "r": header["r"], "received": len(received[name])})
            elif name in blobs:
                chunk = bytes(blobs[name][offset : offset + PAYLOAD_BYTES_MAX])
                server.send({"t": "reply", "r": header["r"], "total": len(blobs[name])}, chunk)
            else:
                server.send({"t": "error", "r": header["r"], "code": "not_found", "message": "no longer kept"})

    in_thread(answer)
    in_thread(link.receive)
    return blobs


def test_large_values_go_and_come(server: Server, link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modicum._blobs.PAYLOAD_BYTES_MAX", 100)
    blobs = serve_blobs(server, link)
    data = os.urandom(1234)
    name = store(link, data)
    assert blobs[name] == data
    with pytest.raises(BlobLost, match="arguments could not be read: no longer kept"):
        fetch(link, "bl-none")


def test_an_upload_is_begun_again_when_the_server_was_restarted(
    server: Server, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modicum._blobs.PAYLOAD_BYTES_MAX", 100)
    serve_blobs(server, link, restarts=1)
    messages: list[Header] = []
    request = link.request

    def recorded(sent: tuple[tuple[Header, bytes], ...]) -> list[Frame]:
        messages.extend(header for header, _ in sent)
        return request(sent)

    monkeypatch.setattr(link, "request", recorded)
    store(link, bytes(1000))
    assert [header["offset"] for header in messages].count(0) == 2


def test_a_large_output_goes_as_a_blob(server: Server, agent: Agent) -> None:
    blobs = serve_blobs_and_outputs(server)
    in_thread(agent.link.receive)
    give(agent, "a")
    finish(agent, bytes(INLINE_BYTES_MAX + 1))
    entry = blobs[1]()
    assert entry[4] == 0
    assert len(blobs[0][entry[5]]) == INLINE_BYTES_MAX + 1


async def nothing_async() -> None: ...


async def count_async() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "generator"),
    [(lambda: None, False), (lambda: iter(()), True), (nothing_async, False), (count_async, True)],
)
def test_arguments_that_the_server_lost_are_no_exception_of_the_users(
    server: Server, agent: Agent, monkeypatch: pytest.MonkeyPatch, function: Any, generator: bool
) -> None:
    lost = {"t": "error", "code": "not_found", "message": "no longer kept"}
    monkeypatch.setattr(agent.link, "request", lambda messages: [(lost, b"")])
    agent._on_run({"inputs": [["a", 1, 0, "bl-1"]]}, b"")
    serve = serve_async if function in (nothing_async, count_async) else serve_sync
    thread, _ = in_thread(lambda: serve(agent, function, generator))
    header, value = server.receive()
    assert header["outputs"][0][2] == "internal"
    assert value == b"the input's arguments could not be read: no longer kept"
    agent._on_exit({}, b"")
    server.send({"t": "exit"})  # for a main thread that reads
    thread.join(5)


def test_an_output_that_the_server_does_not_take_ends_its_input_alone(
    server: Server, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = {"t": "error", "code": "internal", "message": "no space left on device"}
    monkeypatch.setattr(agent.link, "request", lambda messages: [(full, b"")])
    give(agent, "a", "b")
    finish(agent, bytes(INLINE_BYTES_MAX + 1))
    finish(agent)
    agent._outputs.flush()
    outputs: list[str] = []
    while len(outputs) < 2:
        outputs += [entry[2] for entry in server.receive()[0]["outputs"]]
    assert outputs == ["internal", "ok"]


def serve_blobs_and_outputs(server: Server) -> tuple[dict[str, bytearray], Callable[[], list[Any]]]:
    blobs: dict[str, bytearray] = {}
    entries: list[list[Any]] = []
    came = threading.Event()

    def answer() -> None:
        while not entries:
            header, payload = server.receive()
            if header["t"] == "agent.outputs":
                entries.extend(header["outputs"])
                came.set()
                return
            data = blobs.setdefault(header["blob"], bytearray())
            data += payload
            server.send({"t": "reply", "r": header["r"], "received": len(data)})

    in_thread(answer)

    def first() -> list[Any]:
        assert came.wait(5)
        return entries[0]

    return blobs, first

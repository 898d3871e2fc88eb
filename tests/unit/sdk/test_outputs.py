"""What becomes of outputs that hostile code may have made, and of calls where code may not use Modicum."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum import _context, _operations, _outputs, _results, _server
from modicum.app import App
from modicum.exception import ExecutionError, InternalFailure, PermissionDeniedError, RemoteError
from modicum.wire.frames import Frame
from modicum.wire.messages import EXCEPTION, INTERNAL, SUCCESS
from modicum.wire.values import dump_exception, dumps
from tests.unit.sdk.driver import Named, Server

CALL = "fc-1"


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


class Untrusted(Server):
    """Its functions have restrict_modal_access; what they return is `made`, whoever made it."""

    def __init__(self, made: bytes, status: str = SUCCESS) -> None:
        super().__init__(lambda *args: None)
        self.made = status, made

    def ended(self, data: bytes | bytearray) -> tuple[str, bytes]:
        return self.made

    def output(self, call: str, index: int, status: str, value: bytes) -> Frame:
        header, payload = super().output(call, index, status, value)
        return {**header, "outputs": [[*entry, True] for entry in header["outputs"]]}, payload

    def generate(self, header: Any, data: bytes | bytearray) -> None:
        self.outgoing.append(({"t": "call.piece", "call": CALL, "piece": 0, "end": True, "plain": True}, self.made[1]))
        self.outgoing.append(self.output(CALL, 0, "done", dumps(1)))


def ways(server: Server) -> Iterator[tuple[str, Any]]:
    """Call in each way; yield what comes of it."""
    arguments = dumps(((1,), {}))
    server.values = iter([1])
    for way, operation in (
        ("remote", _operations.remote(Named("fu-1"), CALL, arguments)),
        ("map", _operations.map_(Named("fu-1"), CALL, lambda value: arguments, True, False)),
        ("generate", _operations.generate(Named("fu-1"), CALL, arguments)),
        ("spawn", _operations.spawn(Named("fu-1"), CALL, arguments)),
        ("get", _results.get(CALL, 0, None)),
        ("iterate", _results.iterate(CALL, 0, None)),
        ("gather", _results.gather([CALL])),
    ):
        items = []
        driving = server.drive(operation)
        try:
            while True:
                items.append(next(driving))
        except StopIteration as stop:
            yield way, stop.value if stop.value is not None else items
        except Exception as error:
            yield way, error


def test_values_arrive() -> None:
    found = dict(ways(Untrusted(dumps({"a": (1, {2})}))))
    value = {"a": (1, {2})}
    assert (found["remote"], found["get"], found["gather"]) == (value, value, [value])
    assert (found["map"], found["generate"], found["iterate"]) == ([value], [value], [value])


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    for status in (SUCCESS, EXCEPTION):
        for way, found in ways(Untrusted(pickle.dumps(Evil(tmp_path / "mark")), status)):
            if way != "spawn":
                assert isinstance(found, ExecutionError | RemoteError), (way, found)
                assert "is not taken: there is a" in str(found) or "cannot be told: there is a" in str(found)
    assert not list(tmp_path.iterdir())


def test_exceptions_arrive_as_text(tmp_path: Path) -> None:
    error = LookupError("not there")
    error.evil = Evil(tmp_path / "mark")  # type: ignore[attr-defined]
    found = dict(ways(Untrusted(dump_exception(error), EXCEPTION)))
    (tmp_path / "mark").rmdir()  # it was unpickled where it was made, to see whether it can be
    for way in ("remote", "map", "get", "iterate", "gather"):
        with pytest.raises(RemoteError, match=r"^LookupError: not there"):
            raise found[way]
    assert not list(tmp_path.iterdir())


def test_a_sentence_may_be_any_bytes() -> None:
    with pytest.raises(InternalFailure, match="�x"):
        _outputs.Output([0, INTERNAL, 2, None, True], b"\xffx").value()


def test_code_that_may_not_use_modicum_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_context, "restricted", True)
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    function = App("a").function(serialized=True, name="f")(lambda: None)
    with pytest.raises(
        PermissionDeniedError, match=r"a call of 'f' is not possible here: .* restrict_modal_access=True"
    ):
        function.remote()
    with pytest.raises(PermissionDeniedError, match="a request to the server is not possible here"):
        _server.connect()

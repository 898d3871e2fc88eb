"""How a client comes to terms with the server that it finds."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from modicum import _server
from modicum.exception import ConnectionError, VersionError
from modicum.wire.frames import Frame, Header
from modicum.wire.version import PROTOCOL, build_id
from tests.unit.sdk.driver import Peer, Server


class Build(Server):
    """A server of some build and protocol."""

    def __init__(self, build: str, protocol: int, refuses: bool = False, runtime: str = "auto") -> None:
        super().__init__(print)
        self.build, self.protocol, self.refuses, self.runtime = build, protocol, refuses, runtime
        self.apps: list[str] = []

    def hello(self, header: Header, payload: bytes) -> Frame:
        if self.refuses:
            raise VersionError("I do not speak with you")
        return {"build": self.build, "protocol": self.protocol, "runtime": self.runtime}, b""

    def server_status(self, header: Header, payload: bytes) -> Frame:
        return {"pid": 1 << 23, "apps": self.apps}, b""

    def server_stop(self, header: Header, payload: bytes) -> Frame:
        return {}, b""


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))


def asked(server: Server) -> list[str]:
    return [header["t"] for header, _ in server.sent]


def connect(monkeypatch: pytest.MonkeyPatch, found: Server, started: Server) -> socket.socket:
    """Connect where `found` runs already, and `started` comes in its place once it has ended."""

    def there(folder: Any) -> socket.socket:
        return Peer(found).connect()

    monkeypatch.setattr(_server, "_try_connect", there)
    monkeypatch.setattr(_server, "_launch", lambda: Peer(started).connect())
    monkeypatch.setattr(_server, "_served", {})
    monkeypatch.setattr(_server, "_plain", {})
    return _server.connect()


def test_a_server_of_our_build_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found, started = Build(build_id(), PROTOCOL), Build(build_id(), PROTOCOL)
    connect(monkeypatch, found, started).close()
    assert asked(found) == ["hello"]
    assert asked(started) == []


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("protocol", [PROTOCOL, PROTOCOL + 1])
def test_a_server_of_another_build_is_replaced(monkeypatch: pytest.MonkeyPatch, protocol: int, refuses: bool) -> None:
    found, started = Build("other", protocol, refuses), Build(build_id(), PROTOCOL)
    connect(monkeypatch, found, started).close()
    assert asked(found) == ["hello", "hello", "server.status", "server.stop"]
    assert asked(started) == ["hello"]


def test_an_idle_server_of_another_runtime_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_RUNTIME", "process")
    found, started = Build(build_id(), PROTOCOL), Build(build_id(), PROTOCOL, runtime="process")
    connect(monkeypatch, found, started).close()
    assert asked(found)[-1] == "server.stop"
    assert asked(started) == ["hello"]


def test_a_server_of_another_runtime_that_is_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_RUNTIME", "crun")
    found = Build(build_id(), PROTOCOL, runtime="process")
    found.apps = ["ap-1"]
    with pytest.raises(ConnectionError, match="MODICUM_RUNTIME=process, and this program asks for crun"):
        connect(monkeypatch, found, Build(build_id(), PROTOCOL))
    assert "server.stop" not in asked(found)


def test_who_asks_for_no_runtime_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODICUM_RUNTIME", raising=False)
    found = Build(build_id(), PROTOCOL, runtime="process")
    connect(monkeypatch, found, Build(build_id(), PROTOCOL)).close()
    assert asked(found) == ["hello"]


@pytest.mark.parametrize(("first", "then"), [("auto", "process"), ("crun", "process"), ("process", "auto")])
def test_a_later_server_isolates_as_the_first_did(monkeypatch: pytest.MonkeyPatch, first: str, then: str) -> None:
    connect(monkeypatch, Build(build_id(), PROTOCOL, runtime=first), Build(build_id(), PROTOCOL)).close()
    came = Build(build_id(), PROTOCOL, runtime=then)
    monkeypatch.setattr(_server, "_try_connect", lambda folder: Peer(came).connect())
    for _ in range(2):
        with pytest.raises(ConnectionError, match=f"MODICUM_RUNTIME={then}.*run the program again"):
            _server.connect()
    assert asked(came) == ["hello", "hello"]


def test_a_later_server_may_isolate_by_another_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, Build("other", PROTOCOL, runtime="process"), Build(build_id(), PROTOCOL)).close()
    came = Build("another", PROTOCOL, runtime="crun")
    monkeypatch.setattr(_server, "_try_connect", lambda folder: Peer(came).connect())
    _server.connect().close()


def test_the_one_that_comes_in_its_place_must_speak_as_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VersionError, match=f"protocol {PROTOCOL + 1}"):
        connect(monkeypatch, Build("other", PROTOCOL), Build(build_id(), PROTOCOL + 1))


def test_a_running_server_of_another_protocol_may_be_asked_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Build("other", PROTOCOL + 1, refuses=True)
    monkeypatch.setattr(_server, "_try_connect", lambda folder: Peer(found).connect())
    link = _server.running()
    assert link is not None
    assert _server.ask(link, {"t": "server.status"})["pid"] == 1 << 23
    link.close()

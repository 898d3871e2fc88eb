"""What keeps an app alive: the thread that follows its output, whatever becomes of the terminal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from modicum import _blocking, _context, _server
from modicum._session import Session
from modicum.exception import from_code
from modicum.wire.frames import Frame, Header
from tests.unit.sdk.driver import Peer, Server


class Logs(Server):
    """A server with an app that has printed three lines, one to a read."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(print)
        self.fails = fails
        self.cursors: list[int] = []

    def app_attach(self, header: Header, payload: bytes) -> Frame:
        return {}, b""

    def logs_read(self, header: Header, payload: bytes) -> Frame:
        cursor = header["cursor"]
        self.cursors.append(cursor)
        if self.fails and cursor == 1:
            raise from_code("internal", "the disk is full")
        if cursor == 3:
            return {"entries": [], "cursor": 3, "ended": True}, b""
        return {"entries": [["stdout", "ta-1", 2]], "cursor": cursor + 1, "ended": False}, b"x\n"


@pytest.fixture(autouse=True)
def _no_lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_blocking, "_lanes", {})
    yield
    _blocking.close_idle()


def followed(monkeypatch: pytest.MonkeyPatch, server: Logs, sink: Any) -> None:
    """Follow an app to its end."""
    monkeypatch.setattr(_server, "connect", Peer(server).connect)
    session = Session("ap-1", sink)
    session.start()
    session.join(5)
    assert not session._thread.is_alive()
    assert not _context.shown


def test_all_output_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        followed(monkeypatch, Logs(), lambda *args: shown.append(args))
    assert shown == [("stdout", "ta-1", b"x\n")] * 3


def test_it_stays_attached_when_nothing_can_be_shown_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def closed(*args: Any) -> None:
        tried.append(args)
        raise BrokenPipeError("nobody reads")

    server = Logs()
    with pytest.warns(RuntimeWarning, match="nobody reads"):
        followed(monkeypatch, server, closed)
    assert len(tried) == 1
    assert server.cursors == [0, 1, 2, 3]


def test_what_ended_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(RuntimeWarning, match="the disk is full"):
        followed(monkeypatch, Logs(fails=True), lambda *args: None)

"""A server that was stopped on purpose stays so, whoever still runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modicum import _server
from modicum.exception import ConnectionError


def test_clients_of_a_stopped_server_do_not_start_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))
    monkeypatch.setattr(_server, "_served", {_server.directory(): 100.0})
    monkeypatch.setattr(_server, "start", lambda: pytest.fail("it was started again"))
    (tmp_path / "stopped").touch()
    os.utime(tmp_path / "stopped", (200, 200))
    with pytest.raises(ConnectionError, match="modicum server stop"):
        _server.connect()


def test_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(Exception):
        pass

    def start() -> None:
        raise Started

    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))
    monkeypatch.setattr(_server, "start", start)
    (tmp_path / "stopped").touch()
    os.utime(tmp_path / "stopped", (200, 200))
    for served in ({}, {_server.directory(): 300.0}):  # a new program; one whose server was killed after a start
        monkeypatch.setattr(_server, "_served", served)
        with pytest.raises(Started):
            _server.connect()

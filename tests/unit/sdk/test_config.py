"""Where a client looks for its server, and what it tells that server of its environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modicum import _context, _server, config
from modicum.exception import InternalError, NotFoundError, PermissionDeniedError, ServiceError, from_code


def test_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/USER")
    monkeypatch.delenv("MODICUM_HOME", raising=False)
    assert config.home() == "/home/USER/.modicum"
    monkeypatch.setenv("MODICUM_HOME", "")
    assert config.home() == "/home/USER/.modicum"
    monkeypatch.setenv("MODICUM_HOME", "~/other")
    assert config.home() == "/home/USER/other"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODICUM_HOME", "here")
    assert config.home() == str(tmp_path / "here")


def test_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_HOME", "/x")
    assert _server.directory() == "/x/sock"
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    assert _server.directory() == "/run/modicum"


def test_server_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    kept = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "MODICUM_X": "1",
        "https_proxy": "p",
        "PIP_CERT": "c",
        "REQUESTS_CA_BUNDLE": "b",
    }
    for name, value in {**kept, "AWS_SECRET_ACCESS_KEY": "s", "VIRTUAL_ENV": "v", "LD_PRELOAD": "l"}.items():
        monkeypatch.setenv(name, value)
    assert _server.server_environment() == kept


def test_log_tail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))
    assert _server.log_tail() == "(it left no log)"
    (tmp_path / "server.log").write_bytes(b"".join(b"line %d\n" % n for n in range(20)) + b"\xff")
    assert _server.log_tail(2) == "line 19\n\ufffd"


def test_no_server_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))
    assert _server.running() is None


def test_a_home_of_somebody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    advice = f"{tmp_path} cannot be used: Permission denied; set MODICUM_HOME to a directory of your own"
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        with pytest.raises(PermissionDeniedError, match=advice):
            _server.running()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(PermissionDeniedError, match=advice):
            _server.start()


def test_wait_gone() -> None:
    assert not _server.wait_gone(os.getpid(), within_s=0)
    assert _server.wait_gone(1 << 23)  # above any pid


def test_errors_by_code() -> None:
    assert type(from_code("not_found", "x")) is NotFoundError
    assert type(from_code("internal", "x")) is InternalError
    assert type(from_code("of a newer server", "x")) is ServiceError
    assert str(from_code("not_found", "x")) == "x"

"""The service that starts the server with the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from modicum.cli import boot
from modicum.cli.main import cli
from modicum.exception import Error

ENVIRONMENT = {"MODICUM_HOME": "/srv/a home", "https_proxy": 'http://me:100%$x"y@proxy'}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    path = tmp_path / boot.NAME
    path.write_text(boot.unit(shutil.which("python3") or "", ENVIRONMENT, is_root=True))
    done = subprocess.run(["systemd-analyze", "verify", path], check=False, capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if boot.NAME in line]) == (0, [])


def test_what_systemd_would_take_for_its_own_is_quoted() -> None:
    text = boot.unit("/a $b/python", ENVIRONMENT, is_root=False)
    assert 'Environment="MODICUM_HOME=/srv/a home"\n' in text
    assert 'Environment="https_proxy=http://me:100%%$x\\"y@proxy"\n' in text
    assert 'ExecStart="/a $$b/python" -m modicum.server.main\n' in text
    assert "WantedBy=default.target\n" in text


def test_without_systemd_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "BOOTED", tmp_path / "none")
    result = CliRunner().invoke(cli, ["server", "install"])
    assert isinstance(result.exception, Error)
    assert "server start` at its start" in str(result.exception)


@pytest.mark.parametrize("is_root", [True, False])
def test_it_is_enabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_root: bool) -> None:
    ran: list[str] = []
    monkeypatch.setattr(boot, "BOOTED", tmp_path)
    monkeypatch.setattr(boot, "folder", lambda is_root: tmp_path / "units")
    monkeypatch.setattr(boot, "_run", lambda *command: ran.append(" ".join(command)))
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    result = CliRunner().invoke(cli, ["server", "install"])
    assert result.exit_code == 0, result.output
    path = tmp_path / "units" / boot.NAME
    printed = CliRunner().invoke(cli, ["server", "install", "--print"]).output
    assert (path.read_text(), path.stat().st_mode & 0o777) == (printed, 0o600)
    systemctl = "systemctl" if is_root else "systemctl --user"
    expected = [f"{systemctl} daemon-reload", f"{systemctl} enable modicum.service"]
    assert ran == (expected if is_root else [*expected, "loginctl enable-linger"])
    assert f"to undo: `{systemctl} disable --now modicum`" in result.output


def test_what_fails_is_told() -> None:
    with pytest.raises(Error, match="`ls /no/such` failed: ls: "):
        boot._run("ls", "/no/such")

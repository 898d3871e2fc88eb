"""What do `modicum doctor` and `modicum setup` show, and how do they end?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from modicum import _server
from modicum.cli import doctor as doctor_module
from modicum.cli import setup as preparing
from modicum.cli.main import cli
from modicum.doctor.findings import Finding
from modicum.exception import Error, InvalidError

GOOD = Finding("system", "ok", "Debian")
BAD = Finding("programs", "error", "not installed: crun", "install the package crun")


def examining(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    for module in (doctor_module, preparing):
        monkeypatch.setattr(module, "examine", lambda offline: list(findings))


def test_doctor_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    examining(monkeypatch, GOOD, BAD)
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "✓ system       Debian",
        "✗ programs     not installed: crun",
        "               → install the package crun",
        "",
        "Functions cannot run on this machine yet.",
    ]


def test_doctor_in_colour_only_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("modicum._terminal.is_live", lambda stream: True)
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    doctor_module.show([BAD])
    assert capsys.readouterr().out.startswith("\x1b[31m✗\x1b[0m programs ")
    monkeypatch.setenv("NO_COLOR", "1")
    doctor_module.show([BAD])
    assert capsys.readouterr().out.startswith("✗ programs ")


def test_doctor_for_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    examining(monkeypatch, GOOD)
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    assert result.exit_code == 0
    told = {"name": "system", "level": "ok", "text": "Debian", "fix": ""}
    assert json.loads(result.output) == {"runs": True, "findings": [told]}


def test_a_runtime_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_RUNTIME", "podman")
    with pytest.raises(InvalidError, match="MODICUM_RUNTIME='podman' is not one of auto, crun, runc, process"):
        doctor_module.examine(offline=True)


def test_setup_starts_nothing_where_nothing_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    examining(monkeypatch, BAD)
    monkeypatch.setattr(_server, "connect", lambda: pytest.fail("a server was started"))
    result = CliRunner().invoke(cli, ["setup"])
    assert isinstance(result.exception, Error)
    assert "the lines marked ✗ say what to do" in str(result.exception)
    assert "install the package crun" in result.output


def test_setup_starts_the_server_and_says_what_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Link:
        def close(self) -> None: ...

    def ask(link: Any, header: dict[str, Any]) -> dict[str, Any]:
        return {"pid": 7}

    examining(monkeypatch, GOOD)
    monkeypatch.setattr(_server, "connect", Link)
    monkeypatch.setattr(_server, "ask", ask)
    result = CliRunner().invoke(cli, ["setup", "--no-build"])
    assert result.exit_code == 0
    assert "The server runs (pid 7)" in result.output
    assert result.output.rstrip().endswith("modicum run hello.py")

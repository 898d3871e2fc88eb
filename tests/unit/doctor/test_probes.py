"""Is what is found out about this machine true, and found in any case?"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modicum.doctor import probes
from modicum.doctor.facts import Trial


def test_a_home_that_is_not_there_yet_is_judged_by_where_it_would_be(tmp_path: Path) -> None:
    home = probes.look_at_home(tmp_path / "a" / "b")
    assert (home.path, home.problem) == (str(tmp_path / "a" / "b"), "")
    assert home.free_bytes > 0
    assert home.file_system not in ("", "?")
    assert not (tmp_path / "a").exists()


def test_a_home_that_cannot_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch(mode=0o700)
    assert "not a directory" in probes.look_at_home(tmp_path / "file").problem
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert "belongs to" in probes.look_at_home(tmp_path).problem


def test_a_home_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot be written" in probes.look_at_home(tmp_path / "home").problem


@pytest.mark.parametrize(("release", "version"), [("6.1.0-18-amd64", (6, 1)), ("5.10", (5, 10)), ("6.18-rc1", (6, 18))])
def test_versions_of_the_kernel(release: str, version: tuple[int, int]) -> None:
    assert probes._kernel(release) == version


def test_a_trial_that_does_not_end_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("trial", probes.TRIAL_S)

    monkeypatch.setattr(subprocess, "run", run)
    assert probes.try_node(tmp_path, "auto").failure == "a node did not start within 20 s"
    assert not list(tmp_path.iterdir())


def test_a_trial_says_what_it_came_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        home = Path(command[command.index("--home") + 1])
        (home / "keeper.json").write_text('{"failure": "", "uses": "crun works", "limits": "l", "network": "n"}')
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert probes.try_node(tmp_path, "auto") == Trial("", "crun works", "l", "n")


def test_programs_that_are_not_there_or_hang_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("x", 1)

    monkeypatch.setattr(subprocess, "run", hang)
    assert probes._no_namespaces() == "the attempt did not end"
    assert probes._unreachable(Path("/uv")) == "no answer within 3 s"
    assert probes._unreachable(None) is None


def test_a_machine_is_probed_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "try_node", lambda home, runtime: Trial(uses=runtime))
    facts = probes.probe(tmp_path, "process", ("3.11", "3.99"), offline=True)
    assert facts.trial.uses == facts.runtime == "process"
    assert facts.is_root == (os.geteuid() == 0)
    assert facts.kernel > (3, 0)
    assert facts.packages is None
    assert facts.behind_s == 0
    assert "3.99" not in facts.pythons

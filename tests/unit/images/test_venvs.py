"""How images are made of virtual environments: of which interpreter, with which steps, sharing what."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from modicum.node.images import interpreter, venvs
from modicum.node.images.bases import BaseFailed
from modicum.node.images.ground import StepRefused
from modicum.node.images.venvs import VENV, VenvGround, clone

MINOR = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def ground(tmp_path: Path) -> VenvGround:
    return VenvGround(tmp_path / "pythons")


def environment(folder: Path) -> Path:
    """Make something like an environment, whose script names its place."""
    for name in ("bin", "lib/python3/site-packages"):
        (folder / name).mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = /usr/bin\ncommand = python -m venv {folder}\n")
    (folder / "bin/tool").write_text(f"#!{folder}/bin/python\n")
    (folder / "bin/tool").chmod(0o755)
    (folder / "lib/python3/site-packages/module.py").write_text("x = 1\n")
    (folder / "lib64").symlink_to("lib")
    return folder


@pytest.mark.parametrize("op", ["apt_install", "run_commands", "run_function", "uv_sync", "poetry_install", "new"])
def test_a_step_that_would_change_the_machine_is_refused_by_name(ground: VenvGround, op: str) -> None:
    with pytest.raises(StepRefused, match=f"the process runtime cannot run the step '{op}'"):
        ground.check({"op": op})


@pytest.mark.parametrize("op", ["debian_slim", "pip_install", "uv_pip_install", "add_files"])
def test_a_step_that_it_can_keep(ground: VenvGround, op: str) -> None:
    ground.check({"op": op})


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would make environments: that takes seconds, and the processes tier does it."""
    ran: list[list[str]] = []

    async def run(command: list[str]) -> tuple[int, str]:
        ran.append(command)
        return (1, "no ensurepip") if len(ran) > 1 else (0, "")

    monkeypatch.setattr(venvs, "_run", run)
    return ran


async def test_a_base_is_an_environment_of_the_wanted_minor(
    ground: VenvGround, tmp_path: Path, commands: list[list[str]]
) -> None:
    told: list[str] = []
    step = {"op": "debian_slim", "python": MINOR}
    config = await ground.base(step, tmp_path, tmp_path, told.append)
    ((python, *arguments),) = commands
    assert arguments == ["-I", "-m", "venv", str(tmp_path / VENV)]
    assert venvs._version(python).startswith(f"{MINOR}.")
    assert (config["python_minor"], config["workdir"]) == (MINOR, "/root")
    assert f"CPython {MINOR}." in told[0]
    with pytest.raises(BaseFailed, match=r"-m venv failed .exit status 1.:\nno ensurepip"):
        await ground.base(step, tmp_path, tmp_path, told.append)


async def test_no_other_version_is_taken_in_silence(
    ground: VenvGround, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(minor: str, folder: Path) -> tuple[None, str]:
        return None, "dns error"

    monkeypatch.setattr(interpreter, "fetch", fetch)
    with pytest.raises(BaseFailed, match=r"no CPython 3\.99 .* could not fetch one \(dns error\)"):
        await ground.base({"op": "debian_slim", "python": "3.99"}, tmp_path, tmp_path, lambda line: None)
    assert not (tmp_path / VENV).exists()


async def test_uv_is_asked_for_what_the_machine_lacks(
    ground: VenvGround, tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(minor: str, folder: Path) -> tuple[interpreter.Interpreter, str]:
        return interpreter.Interpreter(Path("/fetched"), f"{minor}.0", "uv's builds", (2, 17)), ""

    monkeypatch.setattr(interpreter, "fetch", fetch)
    told: list[str] = []
    await ground.base({"op": "debian_slim", "python": "3.99"}, tmp_path, tmp_path, told.append)
    assert commands[0][0] == "/fetched/bin/python3.99"
    assert "asking uv for it" in told[0]


def test_an_interpreter_that_does_not_run_or_is_another_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venvs, "_version", lambda python: "3.1.5")
    assert list(venvs.interpreters(MINOR)) == []


def test_a_clone_shares_packages_and_names_its_own_place(tmp_path: Path) -> None:
    first, second = environment(tmp_path / "first"), tmp_path / "second"
    clone(first, second)
    assert (second / "bin/tool").read_text() == f"#!{second}/bin/python\n"
    assert (first / "bin/tool").read_text() == f"#!{first}/bin/python\n"
    assert os.access(second / "bin/tool", os.X_OK)
    assert str(second) in (second / "pyvenv.cfg").read_text()
    assert os.readlink(second / "lib64") == "lib"
    module = "lib/python3/site-packages/module.py"
    assert (second / module).samefile(first / module)


def test_where_files_cannot_be_shared_they_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError("other device")

    monkeypatch.setattr(os, "link", link)
    first, second = environment(tmp_path / "first"), tmp_path / "second"
    clone(first, second)
    module = "lib/python3/site-packages/module.py"
    assert (second / module).read_text() == "x = 1\n"
    assert not (second / module).samefile(first / module)


def test_a_sealed_layer_names_its_final_place_and_is_kept_from_changes(ground: VenvGround, tmp_path: Path) -> None:
    layer, final = tmp_path / "scratch", tmp_path / "layers/im-1"
    environment(layer / VENV)
    ground.seal(layer, final)
    assert (layer / VENV / "bin/tool").read_text() == f"#!{final}/venv/bin/python\n"
    assert (layer / VENV / "lib/python3/site-packages/module.py").stat().st_mode & 0o222 == 0


def test_files_outside_of_root_are_refused(ground: VenvGround, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    ground.seal(tmp_path, tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(StepRefused, match="below /root only, not to /data"):
        ground.seal(tmp_path, tmp_path)

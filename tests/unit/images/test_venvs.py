"""How images are made of virtual environments: of which interpreter, with which steps, sharing what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modicum.node.images import interpreter, venvs
from modicum.node.images.bases import BaseFailed
from modicum.node.images.ground import StepRefused
from modicum.node.images.venvs import VENV, Found, VenvGround, clone

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


async def test_a_base_is_an_environment_of_the_wanted_minor_with_pip(ground: VenvGround, tmp_path: Path) -> None:
    told: list[str] = []
    config = await ground.base({"op": "debian_slim", "python": MINOR}, tmp_path, tmp_path / "work", told.append)
    python = tmp_path / VENV / "bin/python3"
    program = "import sys, pip; print(*sys.version_info[:2], sep='.')"
    assert subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout == f"{MINOR}\n"
    assert (config["python_minor"], config["workdir"]) == (MINOR, "/root")
    assert f"CPython {MINOR}." in told[0]


async def test_what_uv_says_of_a_failure_is_told(
    ground: VenvGround, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venvs, "interpreters", lambda minor: iter([Found("/nowhere", f"{minor}.1", "/pip.whl")]))
    with pytest.raises(BaseFailed, match=r"uv venv failed .exit status 2.:\n.*nowhere"):
        await ground.base({"op": "debian_slim", "python": MINOR}, tmp_path, tmp_path / "work", lambda line: None)


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
    ground: VenvGround, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = next(venvs.interpreters(MINOR))
    (tmp_path / "fetched/bin").mkdir(parents=True)
    (tmp_path / f"fetched/bin/python{MINOR}").symlink_to(real.python)

    async def fetch(minor: str, folder: Path) -> tuple[interpreter.Interpreter, str]:
        return interpreter.Interpreter(tmp_path / "fetched", real.version, "uv's builds", (2, 17)), ""

    monkeypatch.setattr(interpreter, "fetch", fetch)
    monkeypatch.setattr(venvs, "interpreters", lambda minor: iter(()))
    told: list[str] = []
    found = await ground._interpreter(MINOR, told.append)
    assert (found.python, found.version) == (f"{tmp_path}/fetched/bin/python{MINOR}", real.version)
    assert "asking uv for it" in told[0]


def test_an_interpreter_that_does_not_run_or_is_another_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venvs, "_PROBE", "print('3.1.5', '/pip.whl')")
    assert list(venvs.interpreters(MINOR)) == []
    monkeypatch.setattr(venvs, "_PROBE", "raise ImportError('ensurepip')")
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

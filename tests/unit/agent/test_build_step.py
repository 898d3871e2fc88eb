"""How a function of a program runs as a step of a build, and what is seen of it if it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modicum.agent import build_step
from modicum.wire.values import dumps

PROGRAM = """
import sys
import modal
app = modal.App("a")
def write(path, text="nothing"):
    assert not modal.is_local() and len(sys.argv) == 1
    print("writing")
    open(path, "w").write(text)
@app.function()
def decorated(): print("decorated")
def fail(): raise ValueError("no model there")
def leave(): sys.exit(7)
"""


def run(folder: Path, name: str, *args: object, module: str = "program", **kwargs: object) -> tuple[int, str, str]:
    (folder / "program.py").write_text(PROGRAM)
    (folder / "arguments").write_bytes(dumps((args, kwargs)))
    command = [sys.executable, "-S", build_step.__file__, str(folder), module, name, str(folder / "arguments")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    return done.returncode, done.stdout, done.stderr


def test_it_is_called_with_its_arguments(tmp_path: Path) -> None:
    assert run(tmp_path, "write", str(tmp_path / "made"), text="it") == (0, "writing\n", "")
    assert (tmp_path / "made").read_text() == "it"
    assert run(tmp_path, "decorated") == (0, "decorated\n", "")


def test_its_exception_is_shown_without_our_frames(tmp_path: Path) -> None:
    code, _, said = run(tmp_path, "fail")
    assert (code, said.splitlines()[0], said.splitlines()[-1]) == (
        1,
        "Traceback (most recent call last):",
        "ValueError: no model there",
    )
    assert said.count("File ") == 1


@pytest.mark.parametrize(
    ("module", "says"), [("program", "has no attribute 'none'"), ("absent", "No module named 'absent'")]
)
def test_what_cannot_be_found_is_named(tmp_path: Path, module: str, says: str) -> None:
    code, _, said = run(tmp_path, "none", module=module)
    assert code == 1
    assert says in said


def test_its_exit_status_is_the_steps(tmp_path: Path) -> None:
    assert run(tmp_path, "leave")[0] == 7

"""`pip install ./compat/modal`, then `modal run my_app.py`: in an environment of its own, as a user would have it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import modicum

pytestmark = pytest.mark.usefixtures("server")

ROOT = Path(__file__).parents[2]

PROGRAM = """
import modal
import modal.exception
import modicum

assert modal is modicum and modal.exception is modicum.exception
app = modal.App("compatible")

@app.function()
def double(x: int) -> int:
    return 2 * x

@app.local_entrypoint()
def main(x: int = 4):
    print(double.remote(x))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what the tests' own has, and `modal` of ours, installed without the network."""
    folder = tmp_path_factory.mktemp("compat")
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    borrowed = [str(Path(modicum.__file__).parents[1]), sysconfig.get_paths()["purelib"]]
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", str(ROOT / "compat/modal")], check=True)
    return folder / "bin"


def test_modal_is_modicum(environment: Path) -> None:
    code = "import modal, modal.exception, modicum; print(modal is modicum, modal.exception is modicum.exception)"
    done = subprocess.run([environment / "python", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "True True\n"
    code = "from modal import App, Image; from modal.exception import NotFoundError; print(App.__module__)"
    done = subprocess.run([environment / "python", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "modicum.app\n"


def test_the_command_modal(environment: Path, tmp_path: Path) -> None:
    program = tmp_path / "my_app.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [environment / "modal", "run", program, "--x", "5"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
    done = subprocess.run([environment / "modal", "run", program, "--help"], check=True, capture_output=True, text=True)
    assert f"Usage: modal run {program}::main" in done.stdout
    done = subprocess.run([environment / "modal", "run"], check=False, capture_output=True, text=True)
    assert "Usage: modal run" in done.stderr

"""How long does an image take of which one step has changed, when all packages are cached?"""

from __future__ import annotations

import subprocess
import tempfile
from functools import partial
from pathlib import Path

from harness import SIDES, Figure, Report, Setting, Side, in_turn, median, milliseconds, seconds

PACKAGES = ["numpy", "pandas"]

UV = "Modicum, `uv_pip_install`"
PIP = "Modicum, `pip_install`"
COMMAND = "Modicum, `run_commands` of one that does nothing"
VENV = "`uv pip install --compile-bytecode` into a new virtual environment"
VENV_BARE = "the same without compiling"


def measure(setting: Setting) -> Report:
    """Change a step, build; and beside it fill a plain virtual environment with the same packages."""
    ours = Side(setting.python, SIDES / "rebuild_side.py")
    with tempfile.TemporaryDirectory(prefix="modicum-venv-") as scratch:
        contestants = {
            UV: partial(ours.ask, "packages", names=PACKAGES, installer="uv_pip_install"),
            VENV: lambda: _fill(setting.python, scratch, "--compile-bytecode"),
            VENV_BARE: lambda: _fill(setting.python, scratch),
            PIP: partial(ours.ask, "packages", names=PACKAGES, installer="pip_install"),
            COMMAND: partial(ours.ask, "command"),
        }
        for go in contestants.values():
            go()  # fills the caches
        rounds = in_turn(setting.rounds, contestants)
    ours.close()
    taken = {name: median(found) for name, found in rounds.items()}
    figure = Figure(
        "image with one changed step, numpy and pandas from the cache",
        milliseconds(taken[UV]),
        f"uv into a plain venv {milliseconds(taken[VENV])}",
        f"{taken[UV] / taken[VENV]:.2f}×",
        "",
    )
    rows = [[name, milliseconds(found)] for name, found in taken.items()]
    return Report("Rebuild of an image", ["numpy and pandas, downloads cached", "time"], rows, [figure], LIMITS)


def _fill(python: str, scratch: str, *options: str) -> float:
    uv = str(Path(python).parent / "uv")
    venv = Path(scratch, "venv")
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, venv], check=True)
    install = [uv, "pip", "install", "--quiet", "--link-mode", "copy", "--python", venv / "bin/python"]
    return seconds(lambda: subprocess.run([*install, *options, *PACKAGES], check=True))


LIMITS = (
    "Both run uv on a warm cache and copy out of it, as a link into a cache would let one image change another. "
    "Compiling some 1,900 files to bytecode takes most of the time; it saves every container's start as much. "
    "A step that does nothing shows what a step costs: a container over the layers below, and the layer's record."
)

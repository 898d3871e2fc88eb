"""How long does a command in a running container take, from the request to its exit code."""

from __future__ import annotations

import os
import tempfile
import time

from cold_start import bare_runtime
from harness import SIDES, Figure, Report, Setting, Side, in_turn, median, milliseconds

REST_S = 0.5
"""A process that changes its cgroup after some idleness waits for the kernel: both sides do, so both rest."""

AT_ONCE = 10


def measure(setting: Setting) -> Report:
    """Execute `true`; beside it have the bare runtime execute it, in a container of the same layers."""
    if os.geteuid() != 0:
        raise SystemExit("The floor of executed commands is measured as root only.")
    ours = Side(setting.python, SIDES / "exec_side.py")
    with tempfile.TemporaryDirectory(prefix="modicum-floor-") as folder:
        floor = bare_runtime(ours.ask("python"), folder)
        contestants = {
            "ours": lambda: _rested(ours, "execute"),
            "floor": lambda: _rested(floor, "execute"),
            "ours, at once": lambda: median([ours.ask("execute") for _ in range(AT_ONCE)]),
            "floor, at once": lambda: median([floor.ask("execute") for _ in range(AT_ONCE)]),
            "terminal": lambda: _rested(ours, "on_terminal"),
            "command line": lambda: _rested(ours, "command_line"),
        }
        found = in_turn(max(10, setting.rounds), contestants)
        floor.close()
    ours.close()
    took = {name: median(samples) for name, samples in found.items()}
    rows = [
        ["Modicum, over a connection that is there", *_both(took, "ours")],
        ["`crun exec`, its own cgroups off, same layers", *_both(took, "floor")],
        ["Modicum, with a terminal", milliseconds(took["terminal"]), ""],
        ["`modicum container exec`, the whole process", milliseconds(took["command line"]), ""],
    ]
    figure = Figure(
        "`container exec`, request → exit code",
        milliseconds(took["ours"]),
        f"bare crun exec {milliseconds(took['floor'])}",
        f"{took['ours'] / took['floor']:.2f}×",
        "≤ 1.5×",
    )
    limits = (
        f"The command is `true`. Rested means {REST_S:g} s of idleness before each. Ours is moved into its container's "
        "cgroup first, so that the container's limits hold for it, which the bare one is not."
    )
    return Report("Commands in containers", ["What", "rested", "one after the other"], rows, [figure], limits)


def _both(took: dict[str, float], side: str) -> list[str]:
    return [milliseconds(took[side]), milliseconds(took[f"{side}, at once"])]


def _rested(side: Side, verb: str) -> float:
    time.sleep(REST_S)
    return float(side.ask(verb))

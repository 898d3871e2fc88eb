"""How long does a call take that finds no container."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import SIDES, Figure, Report, Setting, Side, in_turn, median, milliseconds

PHASES = (
    "call → agent's process (client, decision, root, crun, init; its start is known to ±5 ms)",
    "→ function's module loaded (Python, hello, user's module)",
    "→ function entered (arguments)",
    "→ result",
)
IDLE_S = 4.0  # more than the function's idle window, so that its last container has gone


def measure(setting: Setting) -> Report:
    """Call after idleness, and beside it run the bare runtime on the same layers, after idleness too."""
    if os.geteuid() != 0:
        raise SystemExit("The floor of cold starts is measured as root only.")
    ours = setting.modicum()
    with tempfile.TemporaryDirectory(prefix="modicum-floor-") as folder:
        floor = bare_runtime(_cold_call(ours)["python"], folder)
        rounds = in_turn(max(10, setting.rounds), {"ours": lambda: _cold_call(ours), "floor": lambda: _bare_run(floor)})
        floor.close()  # and its mounts with it
    ours.close()

    total, bare = median([sample["total"] for sample in rounds["ours"]]), median(rounds["floor"])
    phases = [median([sample["phases"][place] for sample in rounds["ours"]]) for place in range(len(PHASES))]
    rows = [
        ["Modicum `.remote` with no container", milliseconds(total)],
        *([name, milliseconds(taken)] for name, taken in zip(PHASES, phases)),
        ["`crun run … python3 -c 'import socket'`, same layers", milliseconds(bare)],
    ]
    figure = Figure(
        "cold `.remote`, image ready",
        milliseconds(total),
        f"bare crun {milliseconds(bare)}",
        f"{total / bare:.2f}×",
        "≤ 2×",
    )
    limits = f"Both rest for {IDLE_S:.0f} s before each sample: idleness makes moves between cgroups slower."
    return Report("Cold start", ["What", "time"], rows, [figure], limits)


def _cold_call(ours: Side) -> dict[str, Any]:
    while True:
        time.sleep(IDLE_S)
        found: dict[str, Any] = ours.ask("cold")
        if found["is_cold"]:
            return found


def bare_runtime(python: str, folder: str) -> Side:
    """Start the bare runtime's side, on the layers of a built image with this Python."""
    home = Path(os.environ.get("MODICUM_HOME", "~/.modicum")).expanduser()
    interpreter = next(home.glob(f"node/layers/im-*/usr/**/bin/python{python}"))
    base_layer = interpreter.relative_to(home).parts[:3]
    own_mounts = ("unshare", "--mount", "--propagation", "private")
    return Side(*own_mounts, sys.executable, SIDES / "crun_side.py", folder, home.joinpath(*base_layer))


def _bare_run(floor: Side) -> float:
    time.sleep(IDLE_S)
    return float(floor.ask("run"))

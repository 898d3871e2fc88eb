"""How long does `modicum run` of hello world take, from the shell and back."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

from harness import HERE, Figure, Report, Setting, in_turn, median, milliseconds, seconds

HELLO = HERE.parent / "examples" / "hello.py"


def measure(setting: Setting) -> Report:
    """Run the whole command when nothing has changed since the last time."""
    modicum = str(Path(setting.python).parent / "modicum")
    commands = {
        "`modicum run hello.py`": [modicum, "run", str(HELLO)],
        "`modicum --help`": [modicum, "--help"],
        "`python3 -c 'import asyncio'`": [setting.python, "-c", "import asyncio"],
        "`python3 -S -c pass`": [setting.python, "-S", "-c", "pass"],
    }
    _run(commands["`modicum run hello.py`"])  # starts the server, builds what is missing
    rounds = in_turn(max(10, setting.rounds), {name: partial(_run, command) for name, command in commands.items()})

    taken = {name: median(found) for name, found in rounds.items()}
    ours, floor = taken["`modicum run hello.py`"], taken["`python3 -c 'import asyncio'`"]
    figure = Figure(
        "`modicum run` of hello world, whole process",
        milliseconds(ours),
        f"python3 -c 'import asyncio' {milliseconds(floor)}",
        f"{ours / floor:.1f}×",
        "≤ 1.0 s",
    )
    limits = "Python's own start, the imports of the command line, a cold container, and its end, for the last output."
    rows = [[name, milliseconds(found)] for name, found in taken.items()]
    return Report("Whole process", ["Command", "time"], rows, [figure], limits)


def _run(command: list[str]) -> float:
    return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))

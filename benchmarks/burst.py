"""How long until a hundred inputs that come at once have all run."""

from __future__ import annotations

import os
from math import ceil

from harness import Figure, Report, Setting, median

INPUTS = 100
EACH_S = 1.0
RESERVED_CORES = 0.125


def measure(setting: Setting) -> Report:
    """Map a function that sleeps for a second, without a container at first."""
    ours = setting.clients()
    taken = median([ours.ask("naps", count=INPUTS, each_s=EACH_S) for _ in range(3)])
    ours.close()
    figure = Figure(
        f"{INPUTS} inputs of {EACH_S:.0f} s at once, until all have run", f"{taken:.2f} s",
        f"the ideal {EACH_S:.0f} s", f"{taken / EACH_S:.1f}×", "",
    )  # fmt: skip
    rows = [
        [f"Modicum `.map` of {INPUTS} naps, no container at first", f"{taken:.2f} s"],
        ["as many containers at once, in no time", f"{EACH_S:.2f} s"],
        ["one container", f"{INPUTS * EACH_S:.0f} s"],
    ]
    fit = int((os.cpu_count() or 1) / RESERVED_CORES)
    limits = (
        f"A container reserves {RESERVED_CORES} cores, so {fit} fit on this machine: if all of them were there from "
        f"the start, it would take {ceil(INPUTS / fit) * EACH_S:.0f} s."
    )
    return Report("A burst", ["What", "time"], rows, [figure], limits)

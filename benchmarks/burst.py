"""How long until a hundred inputs that come at once have all run."""

from __future__ import annotations

from harness import Figure, Report, Setting, median

INPUTS = 100
EACH_S = 1.0


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
    limits = "A container is for one input at a time; starting one costs some 20 ms of CPU time, on all cores together."
    return Report("A burst", ["What", "time"], rows, [figure], limits)

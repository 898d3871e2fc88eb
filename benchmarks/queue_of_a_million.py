"""What does a server need for a million inputs that wait, and how soon is the next one there."""

from __future__ import annotations

from harness import Figure, Report, Setting

INPUTS = 1_000_000


def measure(setting: Setting) -> Report:
    """Leave a million inputs to a server, kill it, and start the next."""
    ours = setting.spawning()
    empty, full = ours.ask("queue", count=1), ours.ask("queue", count=INPUTS)
    ours.close()
    rows = [
        ["memory of the server, per input", f"{full['bytes']:,.0f} bytes"],
        ["memory of the next server, per input", f"{max(full['bytes_after_restart'], 0.0):,.0f} bytes"],
        ["on the disk, per input", f"{full['disk']:,.0f} bytes"],
        ["start of the next server", f"{full['restart']:.2f} s"],
        ["start of a server without a queue", f"{empty['restart']:.2f} s"],
        ["`.spawn_map` of them", f"{full['seconds']:.1f} s, {INPUTS / full['seconds']:,.0f}/s"],
    ]
    memory, restart = "server memory per queued input, 1,000,000 of them", "start of a server with these, after a kill"
    figures = [
        Figure(memory, f"{full['bytes']:,.0f} bytes", "–", "", "≤ 2 KiB, then ≤ 0.2 KiB"),
        Figure(
            restart, f"{full['restart']:.2f} s", f"without a queue {empty['restart']:.2f} s",
            f"{full['restart'] / empty['restart']:.2f}×", "",
        ),
    ]  # fmt: skip
    limits = (
        "Private memory, as the kernel counts it. The queue is in the store; memory holds its head. A starting server "
        "counts what waits and reads no more."
    )
    return Report("A queue of a million inputs", ["What", "measured"], rows, figures, limits)

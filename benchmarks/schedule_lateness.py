"""How late does what is due at the same moment run, while calls are made?"""

from __future__ import annotations

from harness import Figure, Report, Setting, in_turn, median, milliseconds, percentile

SCHEDULES = 100
WARM = 8
MOMENTS = 3


def measure(setting: Setting) -> Report:
    """Have a hundred functions be due at once, then some with warm containers, beside timers of an event loop."""
    side = setting.schedules()
    ours, began, bare = f"{SCHEDULES} runs made", f"{WARM} runs begun", f"{SCHEDULES} timers of an event loop"
    contestants = {
        ours: lambda: side.ask("made", count=SCHEDULES, rounds=1),
        began: lambda: side.ask("began", count=WARM, rounds=MOMENTS),
        bare: lambda: side.ask("bare", count=SCHEDULES, rounds=MOMENTS),
    }
    rounds = in_turn(setting.rounds, contestants)
    side.close()

    late = {name: [each for found in goes for each in found] for name, goes in rounds.items()}
    measured = {name: (median(each), percentile(each, 99), max(each)) for name, each in late.items()}
    rows = [[name, *map(milliseconds, times), str(len(late[name]))] for name, times in measured.items()]
    figures = [
        Figure(f"{SCHEDULES} schedules due at once, {which} late", milliseconds(mine),
               f"bare timers {milliseconds(theirs)}", f"{mine / theirs:.1f}×", "")
        for which, mine, theirs in zip(("median", "p99"), measured[ours], measured[bare])
    ]  # fmt: skip
    limits = (
        "A client makes one call after the other meanwhile. A run is *made* when it is decided, just before it is "
        "written down, all of a moment in one sync of the disk; first it asks whether the last runs have ended. A run "
        f"has *begun* when its function runs, each of {WARM} in a warm container of its own: so many processes wake up "
        "at once."
    )
    return Report("Schedules", ["What", "median late", "p99", "most", "of"], rows, figures, limits)

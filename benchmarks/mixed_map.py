"""Does one slow input hold up the quick ones."""

from __future__ import annotations

from harness import Figure, Report, Setting, in_turn, median

NAPS_S = [5.0] + [0.01] * 200


def measure(setting: Setting) -> Report:
    """Map one nap of 5 s and 200 of 10 ms over two workers."""
    ours, pool = setting.modicum(), setting.pool()
    rounds = in_turn(
        min(3, setting.rounds),
        {
            "Modicum `.map`": lambda: ours.ask("mixed", naps_s=NAPS_S),
            "ProcessPoolExecutor(2).map": lambda: pool.ask("mixed", naps_s=NAPS_S),
        },
    )
    ours.close()
    pool.close()

    taken = {name: median(found) for name, found in rounds.items()}
    our_time, pool_time = taken.values()
    figure = Figure(
        "`.map` of one 5 s and 200 10 ms naps, 2 containers",
        f"{our_time:.2f} s",
        f"process pool {pool_time:.2f} s",
        f"{our_time / pool_time:.2f}×",
        "< 5.5 s",
    )
    limits = "The slow input alone takes 5 s; the floor is that and one call."
    rows = [[name, f"{time:.2f} s"] for name, time in taken.items()]
    return Report("Mixed map", ["Who", "time"], rows, [figure], limits)

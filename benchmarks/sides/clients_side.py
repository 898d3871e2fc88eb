"""Modicum, as a contestant with many clients: processes that each call one after the other."""

from __future__ import annotations

import subprocess
import sys
import time

import modicum

app = modicum.App("clients")


@app.function(min_containers=2, max_containers=2)
def same(value: object) -> object:
    return value


@app.function(scaledown_window=2)
def nap(seconds: float) -> None:
    time.sleep(seconds)


def client(function: str, until: float) -> None:
    """Call until a moment; print how often that was."""
    same.hydrate_with(function)
    from contest import compete  # its container has this file alone

    compete(lambda: same.remote(1), until)


def main() -> None:
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from harness import race, seconds, serve

    def clients(count: int, for_s: float) -> float:
        command = [sys.executable, __file__, "client", same.object_id, str(for_s)]
        return race([subprocess.Popen(command, **race.pipes) for _ in range(count)], for_s)

    def naps(count: int, each_s: float) -> float:
        time.sleep(4)  # until the containers of the last time have gone
        return seconds(lambda: list(nap.map([each_s] * count)))

    with app.run():
        list(same.map(range(100)))
        serve({"clients": clients, "naps": naps})


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client(sys.argv[2], float(sys.argv[3]))
    else:
        main()

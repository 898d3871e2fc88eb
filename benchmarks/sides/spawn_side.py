"""Modicum, as a contestant in leaving work behind: nothing works on the inputs, so that spawning alone is timed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time

import modicum

app = modicum.App("spawning")


@app.function(max_containers=1)
def park(value: object) -> None:
    time.sleep(300)


def main() -> None:
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from harness import seconds, serve

    from modicum import _server

    def one_by_one(count: int) -> float:
        with app.run():
            park.spawn(0)
            return seconds(lambda: [park.spawn(number) for number in range(count)])

    def together(count: int, at_once: int) -> float:
        async def spawner(numbers: range) -> None:
            for number in numbers:
                await park.spawn.aio(number)

        async def all_of_them() -> None:
            await asyncio.gather(*(spawner(range(first, count, at_once)) for first in range(at_once)))

        with app.run():
            park.spawn(0)
            return seconds(lambda: asyncio.run(all_of_them()))

    def mapped(count: int) -> float:
        with app.run():
            park.spawn(0)
            return seconds(lambda: park.spawn_map(range(count)))

    def server() -> int:
        with _server.connect() as link:
            return int(_server.ask(link, {"t": "server.status"})["pid"])

    def private_bytes(pid: int) -> int:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private"))

    def queue(count: int) -> dict[str, float]:
        """Leave a queue to a server of our own, kill it, and see what the next one needs."""
        os.environ["MODICUM_RUNTIME"] = "process"  # containers do not matter: a new home would build an image first
        with tempfile.TemporaryDirectory(prefix="modicum-queue-") as home:
            os.environ["MODICUM_HOME"] = home
            with app.run(detach=True):
                park.spawn(0).hydrate()
                before = private_bytes(server())
                took_s = seconds(lambda: park.spawn_map(range(1, count)))  # the first one runs
                grown = private_bytes(server()) - before
                pid = server()
                os.kill(pid, signal.SIGKILL)
                while os.path.exists(f"/proc/{pid}"):
                    time.sleep(0.001)
                found = {"seconds": took_s, "bytes": grown / count, "restart": seconds(server)}
                found["bytes_after_restart"] = (private_bytes(server()) - before) / count
                found["disk"] = os.path.getsize(f"{home}/store.db") / count
            with _server.connect() as link:
                _server.ask(link, {"t": "server.stop", "all": True})
            while os.path.exists(f"{home}/server.json"):
                time.sleep(0.01)
            return found

    serve({"one_by_one": one_by_one, "together": together, "mapped": mapped, "queue": queue})


if __name__ == "__main__":
    main()

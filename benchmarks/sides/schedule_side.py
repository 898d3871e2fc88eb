"""Modicum, as a contestant in punctuality: many functions that are due at once, while calls run; and bare timers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import modicum
from modicum import _server

PERIOD_S = 4
WITHIN_S = 60.0

calling = modicum.App("benchmark-calls")


@calling.function(serialized=True, min_containers=1)
def nothing() -> None: ...


def tick() -> float:
    return time.time()


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from harness import serve

    serve({"made": made, "began": began, "bare": bare})


def made(count: int, rounds: int) -> list[float]:
    """Return how late the runs of so many functions were made that became due at the same moment."""
    late = []
    with calls():
        for _ in range(rounds):
            app = deployed(count)
            due = schedules(app)[0]["next_at"]
            time.sleep(max(due + 0.5 - time.time(), 0))  # asking meanwhile would keep the server from it
            wait(lambda app=app: all(each["last"] for each in schedules(app)))
            late += [each["last"]["created_at"] - due for each in schedules(app)]
            app.stop()
    return late


def began(count: int, rounds: int) -> list[float]:
    """Return how late so many functions began, in containers that wait for them, after the same moments."""
    with calls():
        app = deployed(count)
        wait(lambda: all(each["last"] and each["last"]["state"] == "ok" for each in schedules(app)))
        begin = time.time()
        time.sleep((rounds + 0.5) * PERIOD_S)
        late = []
        for each in schedules(app):
            listed = ask({"t": "call.list", "function": each["id"], "count": 1000})["calls"]
            mine = [modicum.FunctionCall.from_id(one["call"]) for one in listed if one["created_at"] >= begin]
            late += [(call.get() - each["next_at"]) % PERIOD_S for call in mine]
        app.stop()
    return late


def bare(count: int, rounds: int) -> list[float]:
    """Return how late timers of a bare event loop rang meanwhile."""
    with calls():
        return asyncio.run(timers(count, rounds))


async def timers(count: int, rounds: int) -> list[float]:
    """Return how late so many timers of this process rang that were set for the same moments."""
    loop, late = asyncio.get_running_loop(), list[float]()

    def ring(due: float) -> None:
        late.append(time.time() - due)

    for _ in range(rounds):
        due = time.time() + 0.5
        for _ in range(count):
            loop.call_at(loop.time() + due - time.time(), ring, due)
        await asyncio.sleep(1)
    return late


def deployed(count: int) -> modicum.App:
    app = modicum.App("benchmark-schedules")
    for number in range(count):
        schedule = modicum.Period(seconds=PERIOD_S)
        app.function(serialized=True, name=f"tick-{number}", schedule=schedule)(tick)
    return app.deploy()


@contextmanager
def calls() -> Iterator[None]:
    """Have another process call a no-op, one call after the other."""
    with calling.run():
        process = subprocess.Popen([sys.executable, __file__, nothing.object_id], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
            process.wait()


def call(function: str) -> None:
    nothing.hydrate_with(function)
    nothing.remote()
    print("ready", flush=True)
    while True:
        nothing.remote()


def schedules(app: modicum.App) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask({"t": "schedule.list", "apps": [app.app_id]})["schedules"]
    return found


def ask(header: dict[str, Any]) -> dict[str, Any]:
    with _server.connect() as link:
        return _server.ask(link, header)


def wait(condition: Any) -> None:
    deadline = time.time() + WITHIN_S
    while not condition():
        assert time.time() < deadline, "not all of them have run"
        time.sleep(0.1)


if __name__ == "__main__":
    call(sys.argv[1]) if len(sys.argv) > 1 else main()

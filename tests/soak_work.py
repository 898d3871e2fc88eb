"""What the soak deploys: functions that say what they do, and give an answer that no other run of them gives."""

from __future__ import annotations

import os
import time

import modicum

NAME = "soak"

app = modicum.App(NAME)


@app.function(max_containers=3, scaledown_window=2)
def short(number: int, seconds: float) -> tuple[int, str]:
    return _work("short", number, seconds)


@app.function(max_containers=2, scaledown_window=2)
@modicum.concurrent(max_inputs=8)
def together(number: int, seconds: float) -> tuple[int, str]:
    return _work("together", number, seconds)


@app.cls(max_containers=2, scaledown_window=2)
class Leaving:
    """Its containers are asked to end, and take a moment for it."""

    @modicum.method()
    def work(self, number: int, seconds: float) -> tuple[int, str]:
        return _work("leaving", number, seconds)

    @modicum.exit()
    def leave(self) -> None:
        time.sleep(0.2)


def _work(name: str, number: int, seconds: float) -> tuple[int, str]:
    token = os.urandom(6).hex()
    print(f"effect {name} {number} {token}")
    time.sleep(seconds)
    return number, token

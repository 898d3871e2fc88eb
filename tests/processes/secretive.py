"""Functions and a class that look at their environment, and functions whose outputs nobody trusts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from typing import Any

import modicum

NAMES = ("OF_APP", "OF_BOTH", "OF_FUNCTION", "LAST")

app = modicum.App("secretive", secrets=[modicum.Secret.from_dict({"OF_APP": "app", "OF_BOTH": "app", "LAST": "app"})])


def seen() -> dict[str, str]:
    return {name: os.environ[name] for name in NAMES if name in os.environ}


@app.function(secrets=[modicum.Secret.from_dict({"OF_BOTH": "function", "OF_FUNCTION": "x"})], env={"LAST": "env"})
def look() -> dict[str, str]:
    return seen()


@app.function()
def look_from_here(value: str) -> list[dict[str, str]]:
    return [look.remote(), look.with_options(env={"LAST": value}).remote()]


@app.cls(env={"LAST": "class"})
class Looker:
    @modicum.enter()
    def begin(self) -> None:
        self.at_start = seen()

    @modicum.method()
    def look(self) -> dict[str, str]:
        return self.at_start


@app.function(_experimental_restrict_output=True)
def untrusted(value: Any) -> Any:
    if value == "fail":
        raise ValueError("it fails")
    return date(2026, 1, 1) if value == "date" else value


@app.function(_experimental_restrict_output=True)
def untrusted_items(count: int) -> Iterator[Any]:
    yield from range(count)
    yield date(2026, 1, 1)


careful = modicum.App("careful")


@careful.function(block_network=True)
def blocked() -> None: ...

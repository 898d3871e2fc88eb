"""An app that tests deploy, and how it is another app."""

from __future__ import annotations

import os
import time
from pathlib import Path

import modicum

app = modicum.App("shop", tags={"team": "blue"})


@app.function(serialized=True)
def version() -> str:
    return "one"


@app.function(serialized=True, max_containers=2)
def slow(folder: str, number: int) -> str:
    """Says which version ran it, once it may go on."""
    (Path(folder) / f"began-{number}-{os.getpid()}").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.01)
    return f"one {number}"


@app.function(serialized=True)
def gone() -> None: ...


@app.function(serialized=True)
def count(n: int) -> object:
    yield from range(n)


@app.function(serialized=True)
def chain(name: str) -> str:
    """Calls functions of deployed apps by their names, from a container."""
    import modicum

    theirs: str = modicum.Function.from_name(name, "version").remote()
    return f"{theirs}, called by one"


@app.cls(serialized=True)
class Model:
    """A class that is called by its name."""

    size: int = modicum.parameter(default=1)

    @modicum.method()
    def grow(self, by: int) -> int:
        return self.size + by

    @modicum.method()
    def each(self, n: int) -> object:
        yield from range(n * self.size)


def second() -> modicum.App:
    """The next version: without one function, with others in the place of two."""
    newer = modicum.App("shop", tags={"team": "blue"})

    @newer.function(serialized=True, name="version")
    def version() -> str:
        return "two"

    @newer.function(serialized=True, name="slow", max_containers=2)
    def slow(folder: str, number: int) -> str:
        return f"two {number}"

    @newer.function(serialized=True, name="chain")
    def chain(name: str) -> str:
        import modicum

        theirs: str = modicum.Function.from_name(name, "version").remote()
        return f"{theirs}, called by two"

    return newer

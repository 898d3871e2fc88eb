"""Functions that a container does not find, or cannot give or take what they are given."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import modicum

app = modicum.App("astray")

if modicum.is_local():

    @app.function()
    def only_here() -> int:
        return 1


else:

    class Stranger:
        """Known in containers alone."""

    class StrangeError(Exception):
        """Known in containers alone, too."""


class Keeper(Exception):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("keeps a lock")
        self.lock = threading.Lock()


@app.function()
def returns_stranger() -> object:
    return Stranger()  # type: ignore[possibly-undefined,unused-ignore]


@app.function()
def raises(name: str) -> None:
    raise {"strange": StrangeError, "keeper": Keeper}[name]  # type: ignore[possibly-undefined,unused-ignore]


@app.function()
def returns_lock() -> object:
    return threading.Lock()


@app.function()
async def returns_lock_later() -> object:
    return threading.Lock()


@app.function()
def yields_lock() -> Iterator[object]:
    yield threading.Lock()


@app.function()
def echo(value: object, again: object = None) -> object:
    return value


@app.function(include_source=False)
def without_source() -> int:
    return 1


@app.function(serialized=True)
def large(x: int, table: bytes = bytes(3 << 20)) -> int:
    return x + len(table)

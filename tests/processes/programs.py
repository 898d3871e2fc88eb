"""Functions for the tests of this folder to call."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator

import modicum

app = modicum.App("programs")


@app.function()
def double(x: int) -> int:
    return 2 * x


@app.function()
def add(x: int, y: int = 0, *, scale: int = 1) -> int:
    return (x + y) * scale


class Refused(ValueError):
    """An exception of the user's own."""


class Contrary(Exception):
    """Pickles, but cannot be made again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


@app.function()
def fail(kind: str) -> None:
    if kind == "own":
        error = Refused("no")
        error.add_note("a note")
        raise error
    if kind == "cause":
        try:
            _ = 1 / 0
        except ZeroDivisionError as cause:
            raise RuntimeError("outer") from cause
    if kind == "contrary":
        raise Contrary("one", "two")
    if kind == "exit":
        sys.exit(3)
    if kind == "crash":
        os._exit(9)


@app.function()
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(x)
    return x


@app.function()
def count(n: int, size: int = 0) -> Iterator[int | bytes]:
    for i in range(n):
        yield bytes(size) if size else i


@app.function(max_containers=1)
def count_alone(n: int) -> Iterator[int]:
    yield from range(n)


@app.function(max_containers=1)
async def slow_count_alone(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@app.function()
def count_then_fail(n: int) -> Iterator[int]:
    yield from range(n)
    raise Refused("enough")


@app.function()
async def slow_double(x: int, delay_s: float = 0.01) -> int:
    await asyncio.sleep(delay_s)
    return 2 * x


@app.function()
async def slow_count(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@app.function()
def length(data: bytes) -> int:
    return len(data)


@app.function()
def make(size: int) -> bytes:
    return bytes(size)


@app.function(max_containers=2)
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.function(max_containers=2, timeout=60)
def meet(folder: str, others: int) -> int:
    """Leave a file, or wait until `others` have; return the container's process."""
    if not others:
        os.close(tempfile.mkstemp(dir=folder)[0])
    while len(os.listdir(folder)) < others:
        time.sleep(0.01)
    return os.getpid()


@app.function(timeout=1)
def sleep_limited(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


@app.function()
def where() -> tuple[bool, str | None, str | None]:
    return modicum.is_local(), modicum.current_input_id(), modicum.current_function_call_id()


@app.function()
def share(theirs: modicum.Dict, line: str) -> str:
    theirs["there"] = "from there"
    line_ = modicum.Queue.from_id(line)
    line_.put_many([1, 2])
    assert line_.get() == 1
    with modicum.Dict.ephemeral() as ours:
        ours["here"] = "from here"
        return str(ours["here"])


@app.function()
def nested(x: int) -> list[int]:
    return [double.remote(x), *double.map(range(3))]


@app.function()
def imports_modal() -> bool:
    import modal  # type: ignore[import-not-found]
    import modal.exception  # type: ignore[import-not-found]

    return modal is modicum and modal.exception is modicum.exception


@app.function(serialized=True)
def shipped(x: int) -> int:
    return x + 100


@app.function()
def lambda_maker(n: int) -> object:
    return lambda x: x + n


@app.function()
def speak(text: str) -> None:
    print(text)
    print(text.upper(), file=sys.stderr)


@app.function()
def count_then_crash(n: int) -> Iterator[int]:
    yield from range(n)
    time.sleep(0.2)
    os._exit(5)


@app.function()
def print_then_crash(text: str) -> None:
    print(text)
    os._exit(6)

"""A client that does what its stdin says and tells what happens on stdout, in JSON, one object per line."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import modicum
from modicum._running import Run

app = modicum.App("client")
_speaking = threading.Lock()


@app.function(max_containers=2)
def work(number: int, pause_s: float = 0.0) -> tuple[int, str]:
    """Tell each run apart: the same input run twice prints two lines."""
    run = os.urandom(8).hex()
    print("run", number, run)
    time.sleep(pause_s)
    return number, run


@app.function()
def echo(value: bytes) -> bytes:
    return value


@app.function()
def make(size: int) -> bytes:
    return bytes(size)


@app.function()
def stream(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        yield number.to_bytes(4, "big") + bytes(size - 4)


@app.function()
def die(how: str) -> None:
    for number in range(1000):
        print("line", number)
    sys.stdout.write("last words")
    sys.stdout.flush()
    if how == "exit":
        os._exit(3)
    ctypes.string_at(0)


def tell(event: str, **facts: Any) -> None:
    with _speaking:
        print(json.dumps({"event": event, **facts}), flush=True)


def show(stream: str, source: str, data: bytes) -> None:
    tell("output", stream=stream, source=source, text=data.decode())


def do_call(number: int, pause_s: float = 0.0) -> None:
    tell("called", result=work.remote(number, pause_s))


def do_map(count: int, pause_s: float) -> None:
    for result in work.map(range(count), kwargs={"pause_s": pause_s}):
        tell("mapped", result=result)
    tell("map ended")


def do_spawn(count: int, pause_s: float) -> None:
    tell("spawned", calls=[work.spawn(number, pause_s).object_id for number in range(count)])


def do_get(call: str) -> None:
    tell("got", call=call, result=modicum.FunctionCall.from_id(call).get())


def do_build(salt: str) -> None:
    """Build an image that was never built before, and use it."""
    image = modicum.Image.debian_slim().pip_install("six", "attrs", env={"SALT": salt})
    builder = modicum.App("builder")

    @builder.function(image=image, serialized=True)
    def check() -> list[str]:
        import importlib

        return [importlib.import_module(name).__name__ for name in ("six", "attr")]

    with Run(builder, "builder", show):
        tell("built", result=check.remote())


def do_echo(size: int) -> None:
    value = os.urandom(min(size, 1 << 20)) * (size >> 20) if size > 1 << 20 else os.urandom(size)
    tell("echoed", same=echo.remote(value) == value)


def do_make(size: int) -> None:
    tell("made", same=make.remote(size) == bytes(size))


def do_stream(count: int, size: int, pause_after: int) -> None:
    """Read a few items, then wait for leave to read the rest."""
    total = 0
    for number, item in enumerate(stream.remote_gen(count, size)):
        assert item[:4] == number.to_bytes(4, "big")
        total += len(item)
        if number == pause_after:
            tell("paused")
            _resumed.wait()
    tell("streamed", total=total)


_resumed = threading.Event()


def do_resume() -> None:
    _resumed.set()


def do_die(how: str) -> None:
    die.remote(how)


def attempt(action: Callable[..., None], arguments: dict[str, Any]) -> None:
    try:
        action(**arguments)
    except BaseException as error:
        tell("failed", kind=type(error).__name__, message=str(error))


def main() -> None:
    with Run(app, "client", show, detach="CLIENT_DETACH" in os.environ):
        tell("ready", app=app.app_id)
        for line in sys.stdin:
            order = json.loads(line)
            action = globals()["do_" + order.pop("do")]
            threading.Thread(target=attempt, args=(action, order), daemon=True).start()
    tell("ended")


if __name__ == "__main__":
    main()

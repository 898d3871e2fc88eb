"""Classes, and functions that take several inputs at once, for the tests of this folder to call."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import modicum

app = modicum.App("models")


far = modicum.App("far")


@far.cls()
class Distant:
    factor: int = modicum.parameter(default=2)

    @modicum.method()
    def times(self, x: int) -> int:
        return self.factor * x

    @modicum.method()
    def items(self, n: int) -> Iterator[int]:
        yield from range(n)


class Base:
    @modicum.enter()
    def first(self) -> None:
        self.log = ["base"]

    @modicum.method()
    def kind(self) -> tuple[str, list[str]]:
        return type(self).__name__, self.log


@app.cls()
class Counter(Base):
    @modicum.enter()
    def second(self) -> None:
        self.log.append("counter")
        self.count = 0

    @modicum.method()
    def add(self, n: int = 1) -> int:
        self.count += n
        return self.count

    @modicum.method()
    def items(self, n: int) -> Iterator[int]:
        yield from range(n)

    @modicum.method()
    def others(self, n: int) -> tuple[int, str]:
        """Call a method of this object here and one of another class elsewhere."""
        return self.add.local(n), Greeter(name="Ada").greet.remote()  # type: ignore[call-arg]


@app.cls()
class Greeter:
    name: str = modicum.parameter()
    times: int = modicum.parameter(default=1)

    @modicum.enter()
    async def load(self) -> None:
        self.loop = asyncio.get_running_loop()

    @modicum.method()
    def greet(self) -> str:
        return f"hello {self.name}" * self.times

    @modicum.method()
    async def where(self) -> tuple[int, bool]:
        return os.getpid(), asyncio.get_running_loop() is self.loop

    @modicum.method()
    async def items(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i


@app.cls()
class Refuses:
    @modicum.enter()
    def load(self) -> None:
        raise KeyError("no weights")

    @modicum.method()
    def use(self) -> None: ...


@app.cls(serialized=True)
class Sent:
    x: int = modicum.parameter(default=3)

    @modicum.method()
    def power(self, n: int) -> int:
        return int(self.x**n)


@app.cls(max_containers=1, scaledown_window=2)
class Leaves:
    folder: str = modicum.parameter()

    @modicum.enter()
    def load(self) -> None:
        self.thread = threading.Thread(target=time.sleep, args=(3600,))  # the interpreter would wait for it
        self.thread.start()

    @modicum.method()
    def nap(self, seconds: float) -> None:
        (Path(self.folder) / "began").touch()
        try:
            time.sleep(seconds)
        except BaseException as error:
            (Path(self.folder) / type(error).__name__).touch()
            raise

    @modicum.exit()
    async def leave(self) -> None:
        await asyncio.sleep(0)
        (Path(self.folder) / "left").touch()


@app.function(max_containers=1)
@modicum.concurrent(max_inputs=4)
def meet(folder: str, others: int) -> tuple[int, str | None]:
    """Wait until so many inputs are here; return the process, and which input this is."""
    print(f"{others} are to come")
    (Path(folder) / str(modicum.current_input_id())).touch()
    while len(os.listdir(folder)) < others:
        time.sleep(0.01)
    return os.getpid(), modicum.current_input_id()


@app.function(max_containers=1)
@modicum.concurrent(max_inputs=4)
async def meet_async(folder: str, others: int) -> tuple[int, str | None]:
    (Path(folder) / str(modicum.current_input_id())).touch()
    while len(os.listdir(folder)) < others:  # noqa: ASYNC110 - it is other processes' folder, too
        await asyncio.sleep(0.01)
    return os.getpid(), modicum.current_input_id()


@app.function(max_containers=1)
@modicum.batched(max_batch_size=4, wait_ms=60_000)
def together(xs: list[int], ys: list[int]) -> list[tuple[int, int]]:
    return [(len(xs), x * y) for x, y in zip(xs, ys, strict=True)]


@app.cls(max_containers=1)
class Batches:
    @modicum.batched(max_batch_size=3, wait_ms=60_000)
    async def together(self, xs: list[int]) -> list[int]:
        return [len(xs)] * len(xs)

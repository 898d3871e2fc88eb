"""What a type checker sees of the public API. Checked by `scripts/types`; that it runs is not the point."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, assert_type

import modicum

app = modicum.App("typed")


@app.function()
def double(x: int) -> int:
    return 2 * x


@app.function()
async def triple(x: int) -> float:
    return 3.0 * x


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def count_async(n: int) -> AsyncIterator[str]:
    for i in range(n):
        yield str(i)


@app.function()
@modicum.concurrent(max_inputs=2)
async def concurrent(x: int) -> str:
    return str(x)


@app.function()
@modicum.batched(max_batch_size=2, wait_ms=10)
def batched(xs: list[int]) -> list[int]:
    return xs


@app.cls()
@modicum.concurrent(max_inputs=2)
class Model:
    name: str = modicum.parameter(default="x")

    @modicum.enter()
    def load(self) -> None:
        self.loaded = True

    @modicum.method()
    def generate(self, prompt: str) -> int:
        return len(prompt) + len(self.name)

    @modicum.method()
    async def later(self, prompt: str) -> int:
        return await self.generate.remote.aio(prompt)

    @modicum.method()
    def items(self, n: int) -> Iterator[int]:
        yield from range(n)

    def plain(self) -> float:
        return 1.0


@app.local_entrypoint()
def main(n: int) -> str:
    return str(n)


if TYPE_CHECKING:
    assert_type(double.remote(1), int)
    assert_type(double.local(1), int)
    assert_type(triple.remote(1), float)
    local: Coroutine[Any, Any, float] = triple.local(1)
    assert_type(double.map([1]), Iterator[int])
    assert_type(double.spawn(1), modicum.FunctionCall[int])
    assert_type(double.spawn(1).get(), int)
    assert_type(count.remote_gen(1), Iterator[int])
    assert_type(count_async.remote_gen(1), Iterator[str])
    assert_type(main(1), str)
    assert_type(concurrent.remote(1), str)
    assert_type(Model().generate.remote("p"), int)
    assert_type(Model().generate.local("p"), int)
    assert_type(Model().generate.spawn("p"), modicum.FunctionCall[int])
    assert_type(Model().items.remote_gen(1), Iterator[int])
    assert_type(Model().plain(), float)
    assert_type(Model().name, str)
    Model().load()
    Model().generate.remote(1)  # type: ignore[arg-type]
    Model.generate.remote("p")  # type: ignore[attr-defined]
    batched.remote(1)  # a single value: its parameter is a list only inside
    double.remote("wrong")  # type: ignore[arg-type]
    double.spawn(1, 2)  # type: ignore[call-arg]

    async def check_async() -> None:
        assert_type(await double.remote.aio(1), int)
        assert_type(await triple.remote.aio(1), float)
        assert_type(count.remote_gen.aio(1), AsyncIterator[int])
        assert_type(double.map.aio([1]), AsyncIterator[int])
        assert_type(await Model().later.remote.aio("p"), int)
        assert_type(await Model().later.local("p"), int)
        call = await double.spawn.aio(1)
        assert_type(await call.get.aio(timeout=1), int)

    def shared(d: modicum.Dict, q: modicum.Queue) -> None:
        assert_type(d.put("k", 1, skip_if_exists=True), bool)
        assert_type(d.len(), int)
        assert_type(d.keys(), Iterator[Any])
        assert_type(d.items.aio(), AsyncIterator[Any])
        assert_type(modicum.Dict.objects.list(max_objects=3), list[modicum.Dict])
        assert_type(q.get_many(3, timeout=1), list[Any])
        _: Coroutine[Any, Any, None] = q.put.aio(1, partition="p")
        assert_type(q.iterate(item_poll_timeout=1), Iterator[Any])
        assert_type(q.hydrate(), modicum.Queue)
        with modicum.Queue.ephemeral() as made:
            assert_type(made, modicum.Queue)
        d.put("k")  # type: ignore[call-arg]
        q.get(partiton="p")  # type: ignore[call-arg]


def test_decorators_keep_the_plain_functions() -> None:
    assert double.local(2) == 4
    assert main(3) == "3"
    assert Model().generate.local("p") == 2

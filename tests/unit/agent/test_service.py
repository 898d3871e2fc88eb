"""What a container does with classes, with several inputs at once and with batches; the test is its server."""

from __future__ import annotations

import base64
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum import _context, _parameters
from modicum.agent import output, service
from modicum.agent.loop import Agent
from modicum.exception import ExecutionError, InputCancellation, InvalidError, NotFoundError
from modicum.wire.messages import SUCCESS
from modicum.wire.values import dumps, load_exception, loads
from tests.unit.agent.peer import Server, in_thread

HEAD = """
import asyncio, threading
import modal
app = modal.App("a")
log = []
here, go = threading.Semaphore(0), threading.Event()

def meet():  # in several threads
    here.release()
    assert go.wait(5)
"""


class Container:
    """Runs a service of a module on a thread."""

    def __init__(self, server: Server, agent: Agent, folder: Path) -> None:
        self.server = server
        self.agent = agent
        self.folder = folder
        self.module: Any = None
        self.thread: threading.Thread | None = None
        self.ended: list[Any] = []
        self.results: dict[str, Any] = {}

    def start(self, text: str, name: str, **options: Any) -> None:
        """Load `name` of a new module, and begin to work."""
        module = f"service_{self.folder.name.replace('-', '_')}"
        (self.folder / f"{module}.py").write_text(HEAD + text)
        values: dict[str, Any] = options.pop("parameters", {})
        parameters = base64.b64encode(_parameters.encode(values)).decode() if values else None
        is_class = options.pop("is_class", True)
        spec = {
            "name": f"{name}.*",
            "module": module,
            "qualname": name,
            "class": is_class,
            "generator": False,
            **options,
        }
        spec.setdefault("async", False)
        ready = threading.Event()

        def work() -> None:
            try:
                serve = service.start(self.agent, spec, None, parameters)
            finally:
                self.module = sys.modules.get(module)
                ready.set()
            serve()

        self.thread, self.ended = in_thread(work)
        assert ready.wait(5)

    def give(self, key: str, *args: Any, method: str | None = None, **kwargs: Any) -> None:
        """Send an input."""
        self.give_all({key: (args, kwargs)}, method)

    def give_all(self, inputs: dict[str, Any], method: str | None = None) -> None:
        """Send inputs in one frame."""
        entries, payload = [], b""
        for key, arguments in inputs.items():
            data = dumps(arguments)
            entries.append([key, 1, len(data), None, *([method] if method is not None else [])])
            payload += data
        self.server.send({"t": "run", "inputs": entries}, payload)

    def result(self, key: str) -> Any:
        """Return what an input ended with, an exception too."""
        while key not in self.results:
            header, payload = self.server.receive()
            start = 0
            for each, _, status, _, size, _ in header.get("outputs", ()):
                data = payload[start : start + size]
                self.results[each] = loads(data) if status == SUCCESS else load_exception(data)
                start += size
        return self.results[key]

    def meet(self, count: int) -> None:
        """Wait until so many have come to their `meet()`, and let them go on."""
        for _ in range(count):
            assert self.module.here.acquire(timeout=5)
        self.module.go.set()

    def exit(self, **how: Any) -> None:
        """Tell it to end and wait until it has."""
        self.server.send({"t": "exit", **how})
        assert self.thread is not None
        self.thread.join(10)
        assert not self.thread.is_alive()
        assert self.ended == [None], self.ended


@pytest.fixture
def container(server: Server, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(_context, "_keys", None)
    monkeypatch.setattr(service, "end_within", lambda seconds: None)
    made = Container(server, agent, tmp_path)
    agent._reading.start()
    yield made
    if made.thread is not None and made.thread.is_alive():
        server.send({"t": "exit", "now": True})
        made.thread.join(5)


# -- classes ---------------------------------------------------------------------------------------------------

LIFE = """
class Base:
    @modal.enter()
    def b(self): log.append("base")
    @modal.enter(snap=True)
    def early(self): log.append("base, early")
    @modal.exit()
    def end(self): log.append("base ends")
    @modal.method()
    def inherited(self): return type(self).__name__

@app.cls(enable_memory_snapshot=True)
class Model(Base):
    x: int = modal.parameter(default=5)
    @modal.enter()
    def a(self): log.append("model")
    @modal.enter(snap=True)
    def early_too(self): log.append("model, early")
    @modal.method()
    def add(self, y): return self.x + y
    @modal.method()
    def both(self, y): return self.add.local(y) + self.plain()
    def plain(self): return 1000
    @modal.exit()
    def fail(self): log.append("fails"); raise ValueError("at the end")
    @modal.exit()
    def old(self, kind, error, trace): log.append((kind, error, trace))
"""


def test_hooks_run_around_all_inputs_in_order(container: Container, capsys: pytest.CaptureFixture[str]) -> None:
    container.start(LIFE, "Model")
    log = container.module.log
    assert log == ["base, early", "model, early", "base", "model"]
    container.give("fc-1:0", 1, method="add")
    assert container.result("fc-1:0") == 6
    container.give("fc-1:1", 1, method="both")  # no hook runs again for a method that is called from a method
    assert container.result("fc-1:1") == 1006
    container.give("fc-1:2", method="inherited")
    assert container.result("fc-1:2") == "Model"
    assert len(log) == 4
    container.exit()
    assert log[4:] == ["base ends", "fails", (None, None, None)]
    assert "ValueError: at the end" in capsys.readouterr().err


def test_parameters_are_attributes(container: Container) -> None:
    container.start(LIFE, "Model", parameters={"x": 7})
    container.give("fc-1:0", 1, method="add")
    assert container.result("fc-1:0") == 8
    container.exit()


def test_a_method_that_is_not_there(container: Container) -> None:
    container.start(LIFE, "Model")
    container.give("fc-1:0", method="gone")
    error = container.result("fc-1:0")
    assert isinstance(error, NotFoundError)
    assert "'Model.*' has no method 'gone'" in str(error)
    container.exit()


def test_a_class_that_is_sent_without_its_module(container: Container, agent: Agent, server: Server) -> None:
    import cloudpickle

    import modicum

    def make() -> type:
        class Sent:
            @modicum.method()
            def double(self, x: int) -> int:
                return 2 * x

        return Sent

    spec = {"name": "Sent.*", "module": "", "qualname": "Sent", "class": True, "generator": False, "async": False}
    serve = service.start(agent, spec, cloudpickle.dumps(make()), None)
    container.thread, container.ended = in_thread(serve)
    container.give("fc-1:0", 4, method="double")
    assert container.result("fc-1:0") == 8
    container.exit()


def test_what_a_hook_raises_is_the_containers_failure(container: Container) -> None:
    text = """
@app.cls()
class Model:
    @modal.enter()
    def load(self): raise KeyError("no weights")
"""
    container.start(text, "Model")
    assert container.thread is not None
    container.thread.join(5)
    assert isinstance(container.ended[0], KeyError)


def test_a_class_that_is_not_at_the_top_level(container: Container) -> None:
    container.start("if __name__ == '__main__':\n    class Model: ...\n", "Model")
    assert container.thread is not None
    container.thread.join(5)
    assert isinstance(container.ended[0], ExecutionError)


ASYNC = """
@app.cls()
class Model:
    @modal.enter()
    async def load(self): self.loop = asyncio.get_running_loop()
    @modal.method()
    async def same(self): return asyncio.get_running_loop() is self.loop
    @modal.method()
    def sync(self):
        async def two(): return 2
        return asyncio.run(two())  # which a running loop would refuse
    @modal.method()
    async def count(self, n):
        for i in range(n): yield i
    @modal.exit()
    async def end(self): log.append(asyncio.get_running_loop() is self.loop)
"""


def test_async_hooks_and_methods_share_a_loop_and_sync_ones_have_none(container: Container) -> None:
    container.start(ASYNC, "Model")
    for key in ("fc-1:0", "fc-1:1"):
        container.give(f"{key}0", method="same")
        assert container.result(f"{key}0") is True
        container.give(f"{key}1", method="sync")
        assert container.result(f"{key}1") == 2
    container.exit()
    assert container.module.log == [True]


def test_items_of_an_async_method_go_as_pieces(container: Container, server: Server) -> None:
    container.start(ASYNC, "Model")
    container.give("fc-1:0", 3, method="count")
    assert [server.receive()[0].get("piece") for _ in range(4)] == [0, 1, 2, None]
    container.exit()


# -- several at once -------------------------------------------------------------------------------------------

CONCURRENT = """
@app.function()
@modal.concurrent(max_inputs=3)
def f(x):
    log.append(x)
    meet()
    return x, modal.current_input_id()

@app.function()
@modal.concurrent(max_inputs=3)
async def g(x):
    log.append(x)
    here.release()
    while not go.is_set():
        await asyncio.sleep(0)
    return x, modal.current_input_id()

@app.cls()
@modal.concurrent(max_inputs=3)
class Mixed:
    @modal.method()
    async def wait(self):
        here.release()
        while not go.is_set():
            await asyncio.sleep(0)
    @modal.method()
    def sync(self, x):
        meet()
        return x, modal.current_input_id()
"""


@pytest.mark.parametrize(("name", "is_async"), [("f", False), ("g", True)])
def test_as_many_run_at_once_as_may(container: Container, name: str, is_async: bool) -> None:
    _context.separate()
    container.start(CONCURRENT, name, is_class=False, concurrency={"max_inputs": 3}, **{"async": is_async})
    container.give_all({f"fc-1:{n}": ((n,), {}) for n in range(5)})
    for _ in range(3):
        assert container.module.here.acquire(timeout=5)
    assert sorted(container.module.log) == [0, 1, 2]  # the others wait
    assert container.agent.has_work
    container.module.go.set()
    for n in range(5):
        assert container.result(f"fc-1:{n}") == (n, f"in-1-{n}")
    container.exit()


def test_sync_methods_run_beside_async_ones_if_several_run_at_once(container: Container) -> None:
    _context.separate()
    container.start(CONCURRENT, "Mixed", concurrency={"max_inputs": 3})
    container.give("fc-1:0", method="wait")
    container.give_all({"fc-1:1": ((1,), {}), "fc-1:2": ((2,), {})}, "sync")
    container.meet(3)
    assert container.result("fc-1:0") is None
    assert [container.result(f"fc-1:{n}") for n in (1, 2)] == [(1, "in-1-1"), (2, "in-1-2")]
    container.exit()


# -- batches ---------------------------------------------------------------------------------------------------

BATCHED = """
@app.function()
@modal.batched(max_batch_size=3, wait_ms=600_000)
def f(xs, ys):
    log.append((xs, ys))
    if xs[0] == "raise": raise KeyError("all")
    if xs[0] == "short": return [1]
    if xs[0] == "tuple": return (1, 2, 3)
    if xs[0] == "lock": return [threading.Lock(), 1, 2]
    return [x * y for x, y in zip(xs, ys)]

@app.function()
@modal.batched(max_batch_size=3, wait_ms=600_000)
async def g(xs, ys):
    return f.get_raw_f()(xs, ys)

@app.cls()
class Model:
    @modal.batched(max_batch_size=3, wait_ms=600_000)
    def f(self, xs, *, ys): return [x * y for x, y in zip(xs, ys)]
"""

BATCHING = {"max_batch_size": 3, "wait_ms": 600_000}


@pytest.fixture(params=[("f", False), ("g", True)], ids=["sync", "async"])
def batched(request: pytest.FixtureRequest, container: Container) -> Container:
    name, is_async = request.param
    container.start(BATCHED, name, is_class=False, batching=BATCHING, **{"async": is_async})
    return container


def test_a_full_batch_runs_at_once(batched: Container) -> None:
    batched.give("fc-1:0", 1, 10)
    batched.give_all({"fc-1:1": ((2,), {"ys": 10}), "fc-1:2": ((), {"xs": 3, "ys": 10}), "fc-1:3": ((4, 10), {})})
    assert [batched.result(f"fc-1:{n}") for n in range(3)] == [10, 20, 30]
    batched.exit()  # a batch that is not full runs when there will be no more
    assert batched.result("fc-1:3") == 40
    assert batched.module.log == [([1, 2, 3], [10, 10, 10]), ([4], [10])]


def test_a_batch_does_not_wait_longer_than_it_may(container: Container) -> None:
    container.start(BATCHED, "f", is_class=False, batching={"max_batch_size": 3, "wait_ms": 0})
    container.give_all({"fc-1:0": ((1, 1), {}), "fc-1:1": ((2, 1), {})})
    assert [container.result(f"fc-1:{n}") for n in range(2)] == [1, 2]
    container.exit()


def test_a_batched_method(container: Container) -> None:
    container.start(BATCHED, "Model", batching=BATCHING)
    container.give_all({f"fc-1:{n}": ((n,), {"ys": 2}) for n in range(3)}, "f")
    assert [container.result(f"fc-1:{n}") for n in range(3)] == [0, 2, 4]
    container.exit()


@pytest.mark.parametrize(
    ("first", "kind", "text"),
    [
        ("raise", KeyError, "all"),
        ("short", InvalidError, "ran a batch of 3 and returned a list of 1: it must return a list of 3"),
        ("tuple", InvalidError, "ran a batch of 3 and returned a tuple: it must return a list of 3"),
    ],
)
def test_a_batch_fails_as_one(batched: Container, first: str, kind: type, text: str) -> None:
    batched.give_all({f"fc-1:{n}": ((first, 1), {}) for n in range(3)})
    for n in range(3):
        error = batched.result(f"fc-1:{n}")
        assert isinstance(error, kind)
        assert text in str(error)
    batched.exit()


def test_what_does_not_fit_fails_alone(batched: Container) -> None:
    batched.give_all({"fc-1:0": ((1,), {}), "fc-1:1": ((2, 10), {}), "fc-1:2": ((3, 10), {})})
    error = batched.result("fc-1:0")
    assert isinstance(error, InvalidError)
    assert "takes exactly xs, ys; this call gave 1 by position and none by name" in str(error)
    assert [batched.result(f"fc-1:{n}") for n in (1, 2)] == [20, 30]
    batched.give_all({f"fc-2:{n}": (("lock", 1), {}) for n in range(3)})
    assert "a lock, cannot be sent" in str(batched.result("fc-2:0"))
    assert [batched.result(f"fc-2:{n}") for n in (1, 2)] == [1, 2]
    batched.exit()


def test_several_batches_at_once(container: Container) -> None:
    text = """
@app.function()
@modal.batched(max_batch_size=2, wait_ms=600_000)
@modal.concurrent(max_inputs=2)
def f(xs):
    meet()
    return [len(xs)] * len(xs)
"""
    _context.separate()
    container.start(text, "f", is_class=False, batching={"max_batch_size": 2, "wait_ms": 600_000},
                    concurrency={"max_inputs": 2})  # fmt: skip
    container.give_all({f"fc-1:{n}": ((n,), {}) for n in range(4)})
    container.meet(2)
    assert [container.result(f"fc-1:{n}") for n in range(4)] == [2, 2, 2, 2]
    container.exit()


# -- ending early ----------------------------------------------------------------------------------------------

LONG = """
def spin():
    here.release()
    try:
        while not go.wait(0.01): pass
    except BaseException as error:
        log.append(type(error).__name__)
        raise
    return "done"

@app.function()
@modal.concurrent(max_inputs=2)
def f(x): return spin()

@app.function()
@modal.concurrent(max_inputs=2)
async def g(x):
    here.release()
    try:
        while not go.is_set(): await asyncio.sleep(0.01)
    except BaseException as error:
        log.append(type(error).__name__)
        raise
    return "done"

@app.function()
@modal.batched(max_batch_size=2, wait_ms=600_000)
def b(xs):
    spin()
    return xs

@app.cls()
@modal.concurrent(max_inputs=2)
class Ends:
    @modal.method()
    def f(self): return spin()
    @modal.exit()
    def end(self): log.append("end")
"""


@pytest.mark.parametrize(("name", "kind"), [("f", "InputCancellation"), ("g", "CancelledError")])
def test_running_code_is_interrupted_and_its_neighbour_is_not(container: Container, name: str, kind: str) -> None:
    _context.separate()
    container.start(LONG, name, is_class=False, concurrency={"max_inputs": 2}, **{"async": name == "g"})
    container.give_all({f"fc-1:{n}": ((n,), {}) for n in range(2)})
    for _ in range(2):
        assert container.module.here.acquire(timeout=5)
    container.agent._on_cancel_inputs({"keys": ["fc-1:0"]}, b"")
    assert type(container.result("fc-1:0")).__name__ == kind
    assert container.module.log == [kind]
    container.module.go.set()
    assert container.result("fc-1:1") == "done"
    container.exit()


def test_a_batch_goes_on_without_one_and_ends_without_all(container: Container) -> None:
    container.start(LONG, "b", is_class=False, batching={"max_batch_size": 2, "wait_ms": 600_000})
    container.give_all({f"fc-1:{n}": ((n,), {}) for n in range(2)})
    assert container.module.here.acquire(timeout=5)
    container.agent._on_cancel_inputs({"keys": ["fc-1:0"]}, b"")
    assert isinstance(container.result("fc-1:0"), InputCancellation)  # at once: the batch runs on
    container.module.go.set()
    assert container.result("fc-1:1") == 1
    container.module.go.clear()
    container.give_all({f"fc-2:{n}": ((n,), {}) for n in range(2)})
    assert container.module.here.acquire(timeout=5)
    container.agent._on_cancel_inputs({"keys": ["fc-2:0", "fc-2:1"]}, b"")
    assert [type(container.result(f"fc-2:{n}")) for n in range(2)] == [InputCancellation] * 2
    container.exit()
    assert container.module.log == ["InputCancellation"]


def test_at_once_interrupts_all_without_outputs_and_runs_the_exit_hooks(container: Container, server: Server) -> None:
    _context.separate()
    container.start(LONG, "Ends", concurrency={"max_inputs": 2})
    container.give_all({f"fc-1:{n}": ((), {}) for n in range(3)}, "f")
    for _ in range(2):
        assert container.module.here.acquire(timeout=5)
    container.exit(now=True)
    assert container.module.log == ["InputCancellation", "InputCancellation", "end"]
    assert server.quiet()


# -- what is printed -------------------------------------------------------------------------------------------


def test_what_several_print_at_once_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_context, "_keys", None)
    monkeypatch.setattr(output, "_separators", [])
    _context.separate()
    read, write = os.pipe()
    separator = output._Separator(write)
    output._separators.append(separator)
    separator.write(b"of none\n")

    def as_input(key: str, text: bytes) -> None:
        _context.enter(key)
        separator.write(text)

    for key, text in (("a", b"one, "), ("b", b"two\nthr"), ("a", b"goes on\n"), ("a", b"rest"), ("b", b"ee\n")):
        run_alone(lambda key=key, text=text: as_input(key, text))  # type: ignore[misc]
    assert (output.end("a"), output.end("b"), output.end("c")) == (True, True, False)
    os.close(write)
    with open(read, "rb") as pipe:
        assert (
            pipe.read()
            == b"of none\n\x1e\x02b\x03two\n\x1e\x02a\x03one, goes on\n\x1e\x02b\x03three\n\x1e\x02a\x03rest"
        )


def run_alone(work: Callable[[], None]) -> None:
    thread, results = in_thread(work)
    thread.join(5)
    assert results == [None]

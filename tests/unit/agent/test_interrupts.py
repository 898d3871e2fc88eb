"""How what runs on the main thread is interrupted: there, and nowhere but in user code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modicum.agent.loop import Agent
from modicum.exception import InputCancellation
from modicum.wire.values import dumps, load_exception
from tests.unit.agent.peer import Server, in_thread


@pytest.fixture
def agent(agent: Agent) -> Iterator[Agent]:
    """An agent on the main thread, with its handlers."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    hook = sys.unraisablehook
    agent._take_signals()
    yield agent
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


def give(agent: Agent, *keys: str) -> None:
    data = dumps(((), {}))
    agent._on_run({"inputs": [[key, 1, len(data), None] for key in keys]}, data * len(keys))


def meanwhile(work: Callable[[], None]) -> list[Any]:
    """Be the server on another thread."""
    return in_thread(work)[1]


def outputs(server: Server, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while len(found) < count:
        header, payload = server.receive()
        start = 0
        for key, _, status, _, size, _ in header["outputs"]:
            found[key] = load_exception(payload[start : start + size]) if status == "exception" else status
            start += size
    return found


def test_a_cancelled_input_is_interrupted_in_a_system_call(server: Server, agent: Agent) -> None:
    inside = threading.Event()

    def sleep() -> None:
        if not inside.is_set():
            inside.set()
            time.sleep(60)

    def serve() -> None:
        assert inside.wait(5)
        agent._on_cancel_inputs({"keys": ["a"]}, b"")
        found = outputs(server, 2)
        assert isinstance(found["a"], InputCancellation)
        assert found["b"] == "ok"
        server.send({"t": "exit"})  # which the main thread reads: it is idle

    give(agent, "a", "b")
    results = meanwhile(serve)
    agent.serve(lambda item: (sleep, False))
    assert results in ([None], [])


def test_one_that_is_cancelled_while_its_arguments_are_read_does_not_begin(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def read(item: Any) -> Any:
        agent._on_cancel_inputs({"keys": ["a"]}, b"")
        return (), {}

    monkeypatch.setattr(agent, "arguments", read)
    give(agent, "a")
    item = agent.take()
    assert item is not None
    status, value = agent._run_function(lambda: ran.append("a"), item)
    assert (status, type(load_exception(value)), ran) == ("exception", InputCancellation, [])


def test_an_interrupt_that_comes_late_hits_nothing(agent: Agent) -> None:
    give(agent, "a")
    agent._on_cancel_inputs({"keys": ["a"]}, b"")
    for inside in ("", "b"):
        agent._inside = inside
        signal.raise_signal(signal.SIGUSR1)
    agent._inside = "a"
    with pytest.raises(InputCancellation):
        signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)  # once is enough


def test_an_interrupt_that_python_ignores_comes_again(agent: Agent) -> None:
    ran_on: list[bool] = []

    class Dying:
        def __del__(self) -> None:
            agent._on_cancel_inputs({"keys": ["a"]}, b"")
            signal.raise_signal(signal.SIGUSR1)
            ran_on.append(True)

    def run() -> None:
        agent._inside = "a"
        Dying()
        time.sleep(60)

    give(agent, "a")
    with pytest.raises(InputCancellation):
        run()
    agent._inside = ""
    assert not ran_on


def test_an_interrupt_just_behind_user_code_ends_the_input_and_no_more(
    server: Server, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(function: Any, item: Any) -> Any:
        raise InputCancellation

    monkeypatch.setattr(agent, "_run_function", late)
    give(agent, "a")
    item = agent.take()
    assert item is not None
    agent.run_here(lambda: None, False, item)
    assert isinstance(outputs(server, 1)["a"], InputCancellation)


def test_sigterm_ends_at_once_without_outputs(server: Server, agent: Agent) -> None:
    def die() -> None:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it was not interrupted")

    give(agent, "a", "b")
    agent.serve(lambda item: (die, False))
    assert server.quiet()
    assert agent.at_once


def test_sigterm_ends_a_process_that_user_code_has_forked(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(agent, "_process", -1)
    monkeypatch.setattr("os.kill", lambda process, number: sent.append((process, number)))
    signal.raise_signal(signal.SIGTERM)
    assert sent == [(os.getpid(), signal.SIGTERM)]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not agent.at_once


def test_a_generator_is_interrupted_between_its_items(server: Server, agent: Agent) -> None:
    closed: list[bool] = []

    def items() -> Iterator[int]:
        try:
            yield 1
            agent._on_cancel_inputs({"keys": ["a"]}, b"")
            time.sleep(60)
        finally:
            closed.append(True)

    give(agent, "a")
    item = agent.take()
    assert item is not None
    status, value = agent._run_generator(items, item)
    assert (status, type(load_exception(value)), closed) == ("exception", InputCancellation, [True])


def test_ending_while_it_loads_tells_nobody_of_a_failure(
    server: Server, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run` from the server's answer on: the import is interrupted."""
    monkeypatch.setattr("modicum.agent.output.capture", lambda: None)

    def load(*_: object) -> Any:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it was not interrupted")

    monkeypatch.setattr(agent, "_load", load)
    monkeypatch.setattr(agent, "_read", lambda: None)
    monkeypatch.setattr("modicum._context.socket_directory", None)
    monkeypatch.setattr("modicum._context.app", None)
    monkeypatch.setattr("modicum._context.functions", {})
    server.send({"t": "reply", "r": 1, "function": {"generator": False, "async": False}, "functions": {}, "app": "ap"})
    agent.run()
    assert server.quiet()

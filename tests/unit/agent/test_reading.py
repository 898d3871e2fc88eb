"""Whoever runs inputs reads while he is idle; another does while one runs long, or something is awaited."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from modicum.agent import reading as reading_
from modicum.agent.reading import Reading


class Source:
    """Messages that a test gives; it notes which thread took each, and that no two read at once."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.taken: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.reading = Reading(self.read)
        self.todo: list[str] = []
        self._alone = threading.Lock()

    def read(self) -> None:
        assert self._alone.acquire(blocking=False)
        message = self.messages.get()
        self._alone.release()
        if message.startswith("run"):
            self.todo.append(message)
            self.reading.give()
        self.taken.put((message, threading.current_thread().name))


@pytest.fixture
def source() -> Source:
    return Source()


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, name="runner", daemon=True)
    thread.start()
    return thread


def wait_for_work(source: Source) -> None:
    while not source.todo:
        source.reading.wait()
    source.todo.clear()


def test_idle_runner_reads_by_himself_after_the_other_gave_him_something(source: Source) -> None:
    source.reading.start()
    ready = threading.Event()
    results: list[str] = []

    def run() -> None:
        for _ in range(3):
            ready.set()
            wait_for_work(source)
            results.append(source.taken.get(timeout=5)[1])

    thread = in_thread(run)
    ready.wait(5)
    while not source.reading._waits:
        pass  # he is about to; the other reads until he does
    for number in range(3):
        source.messages.put(f"run {number}")
    thread.join(5)
    assert results == ["modicum-reader", "runner", "runner"]


class LateTurn:
    """A turn that the other gives back late: only when the runner has come for it in vain, once more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused = threading.Event()
        self.is_late = False

    def acquire(self, blocking: bool) -> bool:
        got = self._lock.acquire(blocking=blocking)
        if not got and self.is_late:
            self._refused.set()
        return got

    def release(self) -> None:
        if threading.current_thread().name == "modicum-reader":
            self.is_late = True
            self._refused.wait(5)
            self.is_late = False
        self._lock.release()


def test_somebody_reads_when_the_turn_was_given_back_late(source: Source) -> None:
    source.reading._turn = LateTurn()  # type: ignore[assignment]
    source.reading.start()
    results: list[str] = []

    def run() -> None:
        for _ in range(2):
            wait_for_work(source)
            results.append(source.taken.get(timeout=5)[1])

    thread = in_thread(run)
    while not source.reading._waits:
        pass
    source.messages.put("run 1")  # it is read by the other; the runner is back before the other has let go
    source.messages.put("run 2")
    thread.join(5)
    assert results == ["modicum-reader", "runner"]


def test_other_reads_while_an_input_runs_long(source: Source) -> None:
    source.reading.start()
    source.messages.put("run")
    wait_for_work(source)
    source.taken.get(timeout=5)
    source.reading.begin("slow")
    source.messages.put("cancel")
    assert source.taken.get(timeout=5) == ("cancel", "modicum-reader")


@pytest.mark.parametrize("asked", ["want", "begin"])
def test_other_wakes_when_it_is_needed(source: Source, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setattr(reading_, "TICKS_IDLE", 1)
    source.reading.start()
    asleep, finish = threading.Event(), threading.Event()

    def run() -> None:
        wait_for_work(source)
        wait_for_work(source)
        while not source.reading._asleep:
            pass
        if asked == "begin":
            source.reading.begin("slow")
        else:
            source.reading.want()
        asleep.set()
        finish.wait(5)

    thread = in_thread(run)
    while not source.reading._waits:
        pass
    source.messages.put("run 1")
    source.messages.put("run 2")
    assert asleep.wait(5)
    source.messages.put("cancel")
    assert [source.taken.get(timeout=5)[0] for _ in range(2)] == ["run 1", "run 2"]
    assert source.taken.get(timeout=5) == ("cancel", "modicum-reader")
    finish.set()
    thread.join(5)


def test_every_message_reaches_the_runner_whoever_reads(source: Source) -> None:
    """Short and long runs in turn, thousands of hand-overs: none is lost and nobody waits for ever."""
    source.reading.start()
    count = 3000
    seen: list[str] = []

    def run() -> None:
        while len(seen) < count:
            while not source.todo:
                source.reading.wait()
            message = source.todo.pop(0)
            source.reading.begin(message)
            seen.append(message)
            if len(seen) % 500 == 0:
                threading.Event().wait(4 * reading_.TICK_S)

    thread = in_thread(run)
    for number in range(count):
        source.messages.put(f"run {number}")
        source.taken.get(timeout=10)
    thread.join(10)
    assert seen == [f"run {number}" for number in range(count)]

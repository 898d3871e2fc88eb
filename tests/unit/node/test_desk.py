"""Does the keeper do only what a node may ask of it, and live on whatever comes?"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum.node import cgroups, control, desk
from modicum.node.cgroups import Slots, Tree
from modicum.node.desk import Desk, Worker, pid_namespace


class Counter:
    """A desk before which a test stands."""

    def __init__(self, root: Path, namespace: str | None) -> None:
        self.group = root / "pids/modicum/home"
        self.group.mkdir(parents=True)
        self.worker = Worker()
        self.end, theirs = control.pair()
        self.desk = Desk(theirs, Slots(Tree({"pids": self.group}, 1, ())), True, self.worker, namespace)

    def ask(self, message: object, *descriptors: int) -> dict[str, Any]:
        """Send a request; return the answer."""
        control.send(self.end, message, descriptors)  # type: ignore[arg-type]
        assert self.desk.answer()
        self.end.settimeout(10)
        received = control.receive(self.end)
        assert received is not None
        return received[0]

    def close(self) -> None:
        self.worker.close()
        self.end.close()
        self.desk.end.close()


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    made = Counter(tmp_path, pid_namespace(os.getpid()))
    yield made
    made.close()


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A descriptor of a process of this namespace."""
    process = subprocess.Popen(["sleep", "100"])
    pidfd = os.pidfd_open(process.pid)
    yield pidfd
    os.close(pidfd)
    process.kill()
    process.wait()


def test_a_process_of_the_node_is_parked(counter: Counter, sleeper: int) -> None:
    assert counter.ask({"op": "park", "slot": "7", "r": 1}, sleeper) == {"r": 1}
    (slot,) = counter.group.iterdir()
    assert slot.name == "7"
    assert (slot / "cgroup.procs").read_text() == str(desk._pid_of(sleeper))


@pytest.mark.parametrize("namespace", ["pid:[1]", None])
def test_no_other_process_is(tmp_path: Path, sleeper: int, namespace: str | None) -> None:
    counter = Counter(tmp_path, namespace)
    answer = counter.ask({"op": "park", "slot": "7", "r": 1}, sleeper)
    assert answer == {"error": "PermissionError: the process to be parked is not the node's", "r": 1}
    assert list(counter.group.iterdir()) == []
    counter.close()


def test_who_got_the_number_of_one_that_ended_is_let_go(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(["sleep", "100"])
    pidfd = os.pidfd_open(process.pid)
    park = Slots.park

    def park_late(slots: Slots, slot: str, pid: int) -> None:
        process.kill()
        process.wait()
        park(slots, slot, pid)

    monkeypatch.setattr(Slots, "park", park_late)
    top = counter.group.parents[1] / "cgroup.procs"
    top.touch()
    counter.ask({"op": "park", "slot": "7", "r": 1}, pidfd)
    assert top.read_text() == str(process.pid)
    os.close(pidfd)


SLOTS: tuple[object, ...] = ("-1", "../x", "", "1" * 11, 1, -1, 1e400, float("nan"), None, {}, "²")
LIMITS: tuple[object, ...] = (float("inf"), float("nan"), -1, 0, 1 << 99, "max", [], True)
NO_LIMITS = {"op": "limit", "slot": "1", "pids": None, "memory_bytes": None, "cpus": None, "cpus_share": None}
UNUSED = {"cpu_s": None, "memory_bytes": None, "memory_peak_bytes": None, "oom": False}
BAD: list[dict[str, Any]] = [
    {},
    {"op": "park"},
    {"op": "park", "slot": "1"},
    {"op": [[]], "slot": {}, "r": [1]},
    *({"op": "free", "slot": slot} for slot in SLOTS),
    *({**NO_LIMITS, name: value} for name in ("pids", "memory_bytes", "cpus", "cpus_share") for value in LIMITS),
]


@pytest.mark.parametrize("message", BAD, ids=str)
def test_what_makes_no_sense_is_an_error(counter: Counter, message: dict[str, Any]) -> None:
    assert "error" in counter.ask(message)
    assert counter.ask({"op": "usage", "slot": "1", "r": 2}) == {**UNUSED, "r": 2}
    assert counter.ask({"op": "free", "slot": "1", "r": 3}) == {"r": 3}


@pytest.mark.parametrize("data", [b"[]", b"1", b"{", b"\xff", b"[" * 60000, b'{"a":' * 10000, b"1" * 60000])
def test_what_is_no_message_is_ignored(counter: Counter, sleeper: int, data: bytes) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, sleeper.to_bytes(4, "little") * 3)
    counter.end.sendmsg([data], [rights])
    assert counter.desk.answer()
    assert _copies(sleeper) == 1  # none of those that came with the message has stayed
    assert counter.ask({"op": "usage", "slot": "1", "r": 2}) == {**UNUSED, "r": 2}


def _copies(descriptor: int) -> int:
    """Return how many descriptors here, this one included, name the same process."""
    texts = [_fdinfo(number) for number in os.listdir("/proc/self/fd")]
    (pid,) = [line for line in _fdinfo(str(descriptor)).splitlines() if line.startswith("Pid:")]
    return sum(pid in text.splitlines() for text in texts)


def _fdinfo(number: str) -> str:
    try:
        return Path(f"/proc/self/fdinfo/{number}").read_text()
    except FileNotFoundError:
        return ""  # of the listing itself


def test_slots_are_limited(counter: Counter, sleeper: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "SLOTS_MAX", 2)
    answers = [counter.ask({"op": "park", "slot": slot, "r": 1}, sleeper) for slot in ("1", "2", "3", "2")]
    assert ["error" in answer for answer in answers] == [False, False, True, False]


def test_requests_that_wait_are_limited(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "JOBS_MAX", 0)
    assert counter.ask({"op": "free", "slot": "1", "r": 1}) == {"error": "0 requests are waiting already", "r": 1}


def test_a_node_that_does_not_listen_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "SEND_S", 1)
    counter = Counter(tmp_path, None)
    for _ in range(5000):
        counter.desk.tell({"addresses": ["x" * 1000]})
    assert not counter.desk.answer()
    assert json.loads(counter.end.recv(1 << 16))["addresses"]
    counter.close()

"""How do benchmarks measure: sides in processes of their own, asked in turn, and what they found as tables."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
SIDES = HERE / "sides"


@dataclass
class Figure:
    """One line of the budget: ours beside a peer of the same run."""

    what: str
    ours: str
    peer: str
    ratio: str
    goal: str


@dataclass
class Report:
    """What one benchmark found. `limits` says what holds its figure back."""

    title: str
    headers: Sequence[str]
    rows: list[Sequence[str]]
    figures: list[Figure] = field(default_factory=list)
    limits: str = ""

    def markdown(self) -> str:
        """Return the section of RESULTS.md."""
        return "\n".join([f"## {self.title}", "", table(self.headers, self.rows), "", self.limits]).rstrip() + "\n"


@dataclass(frozen=True)
class Setting:
    """Where the sides run: our interpreter, the peers', and where Ray is missing, none."""

    python: str
    peers_python: str | None
    rounds: int

    def modicum(self) -> Side:
        """Start our side."""
        return Side(self.python, SIDES / "modicum_side.py")

    def pool(self) -> Side:
        """Start the process pool's side."""
        return Side(self.python, SIDES / "pool_side.py")

    def relay(self) -> Side:
        """Start the side of two bare processes and their sockets."""
        return Side(self.python, SIDES / "relay_side.py")

    def spawning(self) -> Side:
        """Start our side for what is left behind."""
        return Side(self.python, SIDES / "spawn_side.py")

    def celery(self) -> Side | None:
        """Start Celery's side, or return None where it or Redis is not installed."""
        found = self.peers_python and shutil.which("redis-server")
        return Side(self.peers_python, SIDES / "celery_side.py") if self.peers_python and found else None

    def schedules(self) -> Side:
        """Start our side for functions that run by themselves."""
        return Side(self.python, SIDES / "schedule_side.py")

    def clients(self) -> Side:
        """Start our side for many clients."""
        return Side(self.python, SIDES / "clients_side.py")

    def shared_state(self) -> Side:
        """Start our side for dicts and queues."""
        return Side(self.python, SIDES / "shared_state_side.py")

    def redis(self, sync: str) -> Side | None:
        """Start Redis's side, syncing "always" or as it comes ("no"), or return None where it is not installed."""
        found = self.peers_python and shutil.which("redis-server")
        return Side(self.peers_python, SIDES / "redis_side.py", sync) if self.peers_python and found else None

    def ray_clients(self) -> Side | None:
        """Start Ray's side for many clients, or return None where it is not installed."""
        return Side(self.peers_python, SIDES / "ray_clients_side.py") if self.peers_python else None

    def ray(self) -> Side | None:
        """Start Ray's side, or return None where it is not installed."""
        return Side(self.peers_python, SIDES / "ray_side.py") if self.peers_python else None


class Side:
    """A process that measures one contestant when asked, and otherwise stays still."""

    def __init__(self, *command: str | Path) -> None:
        self._command = command
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Return what the side answers to `verb`. Raises RuntimeError when its process ended instead."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([verb, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command} ended in the middle of {verb!r} with code {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Let the process end, and wait for it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def serve(verbs: Mapping[str, Callable[..., Any]]) -> None:
    """Answer the runner's questions until it closes the pipe; whatever else prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        print(json.dumps(verbs[verb](**arguments)), file=answers, flush=True)


class Race:
    """Processes that say `ready`, wait for the moment at which all start, and then say what they have done."""

    pipes: ClassVar[dict[str, Any]] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    def __call__(self, racers: Sequence[subprocess.Popen[str]], for_s: float) -> float:
        """Return how much per second all have done together."""
        for racer in racers:
            assert racer.stdout is not None
            while racer.stdout.readline().strip() != "ready":
                assert racer.poll() is None, "a client ended before the start"
        start = time.time() + 0.2
        for racer in racers:
            assert racer.stdin is not None
            print(start, file=racer.stdin, flush=True)
        return sum(int(racer.communicate()[0]) for racer in racers) / for_s


race = Race()


def durations(call: Callable[[], object], count: int, warm_up: int = 50) -> list[float]:
    """Return how many seconds each of `count` calls took, after some that do not count."""
    for _ in range(warm_up):
        call()
    found = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def seconds(call: Callable[[], object]) -> float:
    """Return how long one call took."""
    return durations(call, 1, warm_up=0)[0]


def in_turn(rounds: int, contestants: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Let every contestant have its go in every round, A B A B …, so that a drifting machine drifts for all alike."""
    found: dict[str, list[Any]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, go in contestants.items():
            found[name].append(go())
    return found


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which `percent` of 100 lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that reads well as plain text too."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [headers, *rows]]  # which would end it otherwise
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths)] for row in cells]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def microseconds(value_s: float) -> str:
    """Say a duration in µs."""
    return f"{value_s * 1e6:,.0f} µs"


def milliseconds(value_s: float) -> str:
    """Say a duration in ms, with as many digits as mean something."""
    return f"{value_s * 1e3:,.2f} ms" if value_s < 0.01 else f"{value_s * 1e3:,.0f} ms"


def machine() -> str:
    """Describe where this ran."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory_kib = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    system = next(line.split('"')[1] for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME="))
    return (
        f"{os.cpu_count()} cores ({model}), {memory_kib / 2**20:.0f} GiB, {system}, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, "
        f"{'root' if os.geteuid() == 0 else 'not root'}, load {os.getloadavg()[0]:.2f} at the start, "
        f"{time.strftime('%Y-%m-%d')}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []

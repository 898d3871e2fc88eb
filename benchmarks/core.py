"""How much does a decision cost? The pure core alone: no process, no socket, no clock but the benchmark's own."""

from __future__ import annotations

import sys
import time
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from modicum.server.core.actions import Send
from modicum.server.core.events import (
    ContainerReady,
    Event,
    FunctionAdded,
    FunctionSpec,
    InputsArrived,
    NodeJoined,
    Output,
    OutputsArrived,
    Recovered,
)
from modicum.server.core.state import State

ROUNDS = 9
FRAMES = 200
RUN_S = 0.00002


class Bench:
    """A core with ready containers, and the time it has spent."""

    def __init__(self, containers: int) -> None:
        self.state = State("b")
        self.spent_s = 0.0
        self.events = 0
        self._keys = count()
        self._handle(NodeJoined("n", 64.0, 1 << 20))
        self._handle(FunctionAdded(FunctionSpec("f", "app", min_containers=containers, max_containers=containers)))
        self._handle(Recovered())
        for container in [each.id for each in self.state.containers()]:
            self._handle(ContainerReady(container))
        for _ in range(16):
            self.call(1)  # until runs are known to be short

    def measure(self, inputs: int) -> tuple[float, float]:
        """Microseconds per input, there and back, and per event: medians of some rounds."""
        rounds = []
        for _ in range(ROUNDS):
            self.spent_s, self.events = 0.0, 0
            for _ in range(FRAMES):
                self.call(inputs)
            rounds.append((self.spent_s / FRAMES / inputs * 1e6, self.spent_s / self.events * 1e6))
        return sorted(rounds)[ROUNDS // 2]

    def call(self, inputs: int) -> None:
        """One frame of inputs and the frames in which they come back."""
        keys = tuple(f"fc-0000000000000000000000:{next(self._keys)}" for _ in range(inputs))
        for send in self._handle(InputsArrived("f", keys)):
            outputs = tuple(Output(key, attempt, True, RUN_S) for key, attempt in send.inputs)
            self._handle(OutputsArrived(send.container, outputs))

    def _handle(self, event: Event) -> list[Send]:
        before = time.perf_counter()
        actions = self.state.handle(event, before)
        self.state.next_deadline()
        self.spent_s += time.perf_counter() - before
        self.events += 1
        return [action for action in actions if isinstance(action, Send)]


def main() -> None:
    """Print one line."""
    per_input, _ = Bench(2).measure(64)
    _, per_event = Bench(2).measure(1)
    _, among_many = Bench(500).measure(1)
    print(
        f"core: {per_input:.2f} µs per input in frames of 64, there and back; "
        f"{per_event:.1f} µs per single event ({1e6 / per_event:,.0f} per second); "
        f"{among_many:.1f} µs among 500 containers"
    )


if __name__ == "__main__":
    main()

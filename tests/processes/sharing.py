"""What the processes of the tests of dicts and queues do: `python -m tests.processes.sharing VERB QUEUE …`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import modicum


def produce(queue_id: str, first: str, count: str) -> None:
    """Put numbers one by one, and say which were put."""
    queue = modicum.Queue.from_id(queue_id)
    for number in range(int(first), int(first) + int(count)):
        queue.put(number)
        print(number, flush=True)


def consume(queue_id: str, dict_id: str) -> None:
    """Take numbers until there comes None, and say which were taken; write each down where all can see it."""
    queue, taken = modicum.Queue.from_id(queue_id), modicum.Dict.from_id(dict_id)
    while (number := queue.get(timeout=60)) is not None:
        assert taken.put(number, True, skip_if_exists=True), f"{number} was given twice"
        print(number, flush=True)


def wait(queue_id: str) -> None:
    """Wait for an item."""
    print("waiting", flush=True)
    print(modicum.Queue.from_id(queue_id).get(), flush=True)


def hold() -> None:
    """Have an ephemeral dict, and do nothing more."""
    with modicum.Dict.ephemeral() as ours:
        ours["a"] = 1
        print(ours.object_id, flush=True)
        time.sleep(100)


VERBS: dict[str, Callable[..., None]]
VERBS = {"produce": produce, "consume": consume, "wait": wait, "hold": hold}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])

"""Modicum, as a contestant in sharing state: processes that use a Dict or a Queue, one operation after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from contest import compete

import modicum

VALUE = b"x" * 100


def client(operation: str, number: str, dict_id: str, queue_id: str, for_s: float) -> None:
    """Do one operation again and again; print how often."""
    shared, line = modicum.Dict.from_id(dict_id), modicum.Queue.from_id(queue_id)
    shared[number] = VALUE

    def hand() -> None:
        line.put(VALUE, partition=number)
        line.get(partition=number)

    operations: dict[str, Callable[[], object]]
    operations = {"set": lambda: shared.put(number, VALUE), "get": lambda: shared.get(number), "hand": hand}
    compete(operations[operation], for_s, 2 if operation == "hand" else 1)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from harness import race, serve

    with modicum.Dict.ephemeral() as shared, modicum.Queue.ephemeral() as line:

        def clients(operation: str, count: int, for_s: float) -> float:
            ids = [shared.object_id, line.object_id, str(for_s)]
            commands = [[sys.executable, __file__, "client", operation, str(number), *ids] for number in range(count)]
            return race([subprocess.Popen(command, **race.pipes) for command in commands], for_s)

        serve({"clients": clients})


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client(*sys.argv[2:6], float(sys.argv[6]))
    else:
        main()

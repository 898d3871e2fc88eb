"""Redis, as a contestant in sharing state: processes that set and get a key, or push and pop, and pickle as we do.

`redis_side.py always` writes each operation to the disk before it answers, as Modicum does; `no` is Redis as it comes.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis
from contest import compete

VALUE = b"x" * 100


def client(operation: str, number: str, link: str, for_s: float) -> None:
    """Do one operation again and again; print how often."""
    there = redis.Redis(unix_socket_path=link)
    there.set(number, pickle.dumps(VALUE))

    def hand() -> None:
        there.rpush(f"line-{number}", pickle.dumps(VALUE))
        pickle.loads(there.blpop([f"line-{number}"])[1])

    operations: dict[str, Callable[[], object]] = {
        "set": lambda: there.set(number, pickle.dumps(VALUE)),
        "get": lambda: pickle.loads(there.get(number)),
        "hand": hand,
    }
    compete(operations[operation], for_s, 2 if operation == "hand" else 1)


def main(sync: str) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from harness import race, serve

    with tempfile.TemporaryDirectory(prefix="redis-side-") as folder:
        link = f"{folder}/redis"
        settings = ["--port", "0", "--unixsocket", link, "--dir", folder, "--daemonize", "no"]
        if sync == "always":
            settings += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        server = subprocess.Popen(["redis-server", *settings], stdout=subprocess.DEVNULL)
        while not Path(link).exists():
            time.sleep(0.01)

        def clients(operation: str, count: int, for_s: float) -> float:
            commands = [
                [sys.executable, __file__, "client", operation, str(number), link, str(for_s)]
                for number in range(count)
            ]
            return race([subprocess.Popen(command, **race.pipes) for command in commands], for_s)

        try:
            serve({"clients": clients})
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client(*sys.argv[2:5], float(sys.argv[5]))
    else:
        main(sys.argv[1])

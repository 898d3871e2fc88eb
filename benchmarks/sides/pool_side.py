"""The process pool of the standard library, as a contestant."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import durations, seconds, serve


def same(value: object) -> object:
    return value


def main() -> None:
    with ProcessPoolExecutor(1) as one, ProcessPoolExecutor(2) as two:
        list(two.map(same, range(100)))

        def calls(count: int) -> list[float]:
            return durations(lambda: one.submit(same, 1).result(), count)

        def mapped(count: int, chunksize: int) -> float:
            return seconds(lambda: list(two.map(same, range(count), chunksize=chunksize)))

        def mixed(naps_s: list[float]) -> float:
            return seconds(lambda: list(two.map(time.sleep, naps_s)))

        def payload(size: int, count: int) -> list[float]:
            data = os.urandom(size)
            return durations(lambda: one.submit(same, data).result(), count, warm_up=1)

        serve({"calls": calls, "map": mapped, "mixed": mixed, "payload": payload})


if __name__ == "__main__":
    main()

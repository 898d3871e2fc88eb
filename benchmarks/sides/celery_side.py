"""Celery on Redis, as a contestant in leaving work behind: tasks that no worker takes.

Redis is one of our own and writes each task to the disk before it answers (`appendfsync always`), as Modicum does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from celery import Celery

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import seconds, serve


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="celery-side-") as folder:
        link = f"{folder}/redis"
        settings = ["--port", "0", "--unixsocket", link, "--dir", folder, "--save", "", "--daemonize", "no"]
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        redis = subprocess.Popen(["redis-server", *settings, *durable], stdout=subprocess.DEVNULL)
        while not Path(link).exists():
            time.sleep(0.01)
        try:
            contend(link)
        finally:
            redis.terminate()
            redis.wait()


def contend(link: str) -> None:
    celery = Celery("side", broker=f"redis+socket://{link}")
    celery.conf.task_ignore_result = True

    @celery.task
    def park(value: object) -> None: ...

    def one_by_one(count: int) -> float:
        park.delay(0)
        taken = seconds(lambda: [park.delay(number) for number in range(count)])
        celery.control.purge()
        return taken

    def together(count: int, at_once: int) -> float:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(park.delay, range(at_once)))
            taken = seconds(lambda: list(pool.map(park.delay, range(count))))
        celery.control.purge()
        return taken

    serve({"one_by_one": one_by_one, "together": together})


if __name__ == "__main__":
    main()

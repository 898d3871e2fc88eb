"""Ray, as a contestant: one actor, and tasks on two workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import durations, seconds, serve


@ray.remote
def same(value: object) -> object:
    return value


@ray.remote(num_cpus=0)
class Actor:
    def same(self, value: object) -> object:
        return value


def main() -> None:
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    actor = Actor.remote()
    ray.get([same.remote(number) for number in range(100)])

    def actor_calls(count: int) -> list[float]:
        return durations(lambda: ray.get(actor.same.remote(1)), count)

    def task_calls(count: int) -> list[float]:
        return durations(lambda: ray.get(same.remote(1)), count)

    def mapped(count: int) -> float:
        return seconds(lambda: ray.get([same.remote(number) for number in range(count)]))

    def payload(size: int, count: int) -> list[float]:
        data = os.urandom(size)
        return durations(lambda: ray.get(actor.same.remote(data)), count, warm_up=1)

    serve({"actor_calls": actor_calls, "task_calls": task_calls, "map": mapped, "payload": payload})


if __name__ == "__main__":
    main()

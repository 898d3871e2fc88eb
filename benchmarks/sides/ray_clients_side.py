"""Ray, as a contestant with many clients: drivers of one cluster that call two actors, one call after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import race, serve

SPACE = "clients"


@ray.remote(num_cpus=0)
class Same:
    def same(self, value: object) -> object:
        return value


def client(address: str, actor: str, until: float) -> None:
    """Call until a moment; print how often that was."""
    ray.init(address=address, namespace=SPACE, logging_level="ERROR", log_to_driver=False)
    same = ray.get_actor(actor)
    from contest import compete  # Ray's actors are made of this file alone

    compete(lambda: ray.get(same.same.remote(1)), until)


def main() -> None:
    started = ray.init(num_cpus=2, include_dashboard=False, namespace=SPACE, logging_level="ERROR", log_to_driver=False)
    address = started.address_info["address"]
    actors = [Same.options(name=f"same-{number}").remote() for number in range(2)]
    ray.get([actor.same.remote(0) for actor in actors])

    def clients(count: int, for_s: float) -> float:
        command = [sys.executable, __file__, "client", address]
        racers = [
            subprocess.Popen([*command, f"same-{number % 2}", str(for_s)], **race.pipes) for number in range(count)
        ]
        return race(racers, for_s)

    serve({"clients": clients})


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main()

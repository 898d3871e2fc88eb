"""Which functions, machines and fates does a seed draw?"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from modicum.server.core.events import Device, FunctionSpec, Retries, Wish

from .sim_fakes import FakeNode, Function, Surroundings


def draw_functions(random: Random) -> Iterable[Function]:
    """One to four functions of all kinds."""
    has_gpus = random.random() < 0.4
    for number in range(random.randint(1, 4)):
        longest_s = random.choice((0.0003, 0.004, 0.02, 0.2, 0.8))
        minimum = random.choice((0, 0, 1))
        yield Function(
            _draw_spec(random, f"fu-{number}", minimum, _draw_wishes(random) if has_gpus and not minimum else ()),
            run_s=(longest_s / random.choice((1, 3, 100)), longest_s),
            start_s=random.choice(((0.03, 0.05), (0.05, 0.6), (0.1, 3.2))),
            slow=random.choice((0.0, 0.02)),
            crashes=random.choice((0.0, 0.0, 0.01)),
            fails=random.choice((0.0, 0.1, 0.5)),
            start_crashes=random.choice((0.0, 0.0, 0.0, 0.3)),
            broken=not minimum and random.random() < 0.05,
            heeds_cancel=random.random() < 0.5,
        )


def _draw_spec(random: Random, name: str, minimum: int, gpus: tuple[Wish, ...]) -> FunctionSpec:
    slots = random.choice((1, 1, 1, 4, 10))
    together = random.random() < 0.3
    single_use = random.random() < 0.1
    return FunctionSpec(
        id=name,
        app="ap-1",
        cpu=random.choice((0.125, 0.5, 1.0, 64.0)) if not minimum else 0.125,
        memory_mib=1_000_000 if random.random() < 0.05 else random.choice((128, 512)),
        gpus=gpus,
        slots=1 if single_use else slots,
        target=random.choice((None, max(1, slots // 2))),
        min_containers=minimum,
        max_containers=random.choice((None, None, 1, 2, 5)),
        buffer_containers=random.choice((0, 0, 0, 2)) if not minimum else 0,
        scaledown_window_s=random.choice((2.0, 5.0)),
        timeout_s=random.choice((3.0, 5.0)),
        startup_timeout_s=3.0,
        retries=random.choice((None, Retries(1, 1.0, 0.0), Retries(3, 2.0, 0.1, 0.3))),
        single_use=single_use,
        batch_size=slots if together and slots > 1 and not single_use else 0,
        batch_wait_s=random.choice((0.0, 0.01)) if together and slots > 1 and not single_use else 0.0,
        exits=random.random() < 0.3,
        generation=1,
    )


def _draw_wishes(random: Random) -> tuple[Wish, ...]:
    """None for half of the functions; the last of the others' wishes can be fulfilled by every machine, if it has any.

    A function is failed when it asks for what no machine has that is there: one that has it may be away just then.
    """
    if random.random() < 0.5:
        return ()
    better = [Wish("B1", 1), Wish("B1", 2), Wish("C1", 1)]
    return (*random.sample(better, random.choice((0, 0, 1, 2))), Wish(random.choice(("A1", "A1", None)), 1))


def draw_devices(random: Random, node: str) -> tuple[Device, ...]:
    """The GPUs of a machine, at least one A1."""
    kinds = ["A1"] * random.choice((1, 1, 2, 4)) + ["B1"] * random.choice((0, 0, 1, 3))
    return tuple(Device(f"{node}-{number}", kind, 1024) for number, kind in enumerate(kinds))


def draw_nodes(world: Surroundings, random: Random) -> Iterable[FakeNode]:
    """One to three machines."""
    for number in range(random.choice((1, 1, 2, 3))):
        devices = draw_devices(random, f"node-{number}")
        yield FakeNode(world, f"node-{number}", random.choice((1.0, 2.0, 4.0)), random.choice((2048, 8192)), devices)

"""How well is work dealt out in the situations that users meet: bursts, slow starts, crash loops, and each other?"""

from __future__ import annotations

from collections import Counter

import pytest

from modicum.server.core.actions import DrainContainer, FailInputs, KillContainer, StartContainer
from modicum.server.core.events import (
    ContainerExited,
    ContainerReady,
    ExitReason,
    FunctionSpec,
    InputsArrived,
    StartFailed,
)
from modicum.testing.sim_driver import Driver, Play

pytestmark = pytest.mark.sim


def keys(count: int, call: str = "c") -> tuple[str, ...]:
    return tuple(f"{call}:{number}" for number in range(count))


def count_starts(play: Play, since: float = 0.0) -> int:
    return sum(isinstance(action, StartContainer) for at, action in play.actions if at >= since)


def test_a_burst_is_done_almost_as_soon_as_if_all_containers_had_been_there(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"), cpus=12.5)  # room for 100
    play = Play(core, lambda key: 1.0, start_s=0.3)
    play.run(InputsArrived("f", keys(100)))
    assert max(play.ended.values()) < 3.0  # 25 start at once, and the first input must show that it is slow
    assert count_starts(play) <= 100


def test_bursts_that_come_again_find_their_containers(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", scaledown_window_s=10.0), cpus=12.5)
    play = Play(core, lambda key: 0.2, start_s=0.3)
    for number in range(20):
        core.now = max(core.now, number * 5.0)
        play.run(InputsArrived("f", keys(30, f"c{number}")), until=(number + 1) * 5.0)
    assert len(play.ended) == 600
    assert count_starts(play, since=20.0) == 0
    ends = [play.ended[f"c19:{number}"] for number in range(30)]
    assert max(ends) - 95.0 < 0.8


def test_a_start_of_a_minute_is_not_repeated_for_every_input(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", startup_timeout_s=300.0), cpus=12.5)
    play = Play(core, lambda key: 1.0, start_s=60.0)
    play.run(InputsArrived("f", ("w:0",)), until=61.5)
    play.run(InputsArrived("f", keys(100)), until=300.0)
    assert len(play.ended) == 101
    assert count_starts(play) <= 6  # some five seconds of work for each: they would start for longer than that


def test_a_loop_of_crashes_is_slow_and_says_so(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=1, scaledown_window_s=60.0))
    starts = 0
    while core.now < 600.0:
        alive = [each for each in core.state.containers() if each.state == "starting"]
        for each in alive:
            starts += 1
            core.feed(ContainerReady(each.id), core.now + 0.1)
            core.feed(ContainerExited(each.id, ExitReason.CRASHED, "exit code 1"), core.now + 0.1)
        if not alive:
            assert core.state.why_waiting("f").startswith("its last container failed, the next starts after a pause")
        core.wait(core.now + 0.1)
    assert 20 < starts < 40  # 0.1, 0.2, … 25.6, and then every 30 s
    [start] = [action for action in core.wait(core.now + 31.0) if isinstance(action, StartContainer)]
    assert "in a row failed, the last because: crashed: exit code 1" in start.reason


def test_callers_of_a_function_that_never_gets_ready_hear_of_it_in_bounded_time(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", startup_timeout_s=20.0))
    actions = core.feed(InputsArrived("f", keys(1)))
    while not any(isinstance(action, FailInputs) for action in actions):
        for kill in [action for action in actions if isinstance(action, KillContainer)]:
            core.feed(ContainerExited(kill.container, ExitReason.KILLED, ""))
        actions = core.wait(core.now + 0.1)
        assert core.now < 3 * 20.0 + 1.0  # three starts, and the pauses between them


def test_one_app_with_much_to_do_does_not_starve_another(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"), FunctionSpec("g", "other", scaledown_window_s=2.0), cpus=1)  # room for 8
    play = Play(core, lambda key: 0.5 if key.startswith("c") else 0.05)
    play.run(InputsArrived("f", keys(700)), until=10.0)
    for number in range(30):
        core.now = max(core.now, 10.0 + number * 3.0)
        play.run(InputsArrived("g", keys(1, f"g{number}")), until=10.0 + (number + 1) * 3.0)
    waits = sorted(play.ended[f"g{number}:0"] - (10.0 + number * 3.0) for number in range(30))
    assert waits[-1] < 1.0  # what runs is let finish, and then comes a start


def test_two_apps_with_much_to_do_share_evenly(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"), FunctionSpec("g", "other"), cpus=1)
    play = Play(core, lambda key: 0.5)
    play.run(InputsArrived("f", keys(400)), until=2.0)
    play.run(InputsArrived("g", keys(400, "g")), until=12.0)
    there = Counter(each.function for each in core.state.containers())
    assert there == {"f": 4, "g": 4}
    late = [action for at, action in play.actions if at > 8.0]
    assert not [each for each in late if isinstance(each, (StartContainer, DrainContainer, KillContainer))]


def test_a_broken_function_does_not_starve_another(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=1), FunctionSpec("g", "other"), cpus=0.125)
    core.feed(StartFailed("ta-t1", "ImportError"))
    core.feed(ContainerExited("ta-t1", ExitReason.KILLED, ""))
    actions = core.feed(InputsArrived("g", keys(1)))
    assert [action.function for action in actions if isinstance(action, StartContainer)] == ["g"]


@pytest.mark.parametrize(
    "spec",
    [
        FunctionSpec("f", "app", scaledown_window_s=5.0),
        FunctionSpec("f", "app", scaledown_window_s=5.0, slots=8, target=2),
        FunctionSpec("f", "app", scaledown_window_s=5.0, slots=8, batch_size=8, batch_wait_s=0.05),
        FunctionSpec("f", "app", scaledown_window_s=5.0, buffer_containers=2),
        FunctionSpec("f", "app", scaledown_window_s=5.0, min_containers=3, max_containers=30),
    ],
    ids=["singly", "together", "batched", "buffered", "kept"],
)
def test_a_steady_load_starts_and_stops_nothing(core: Driver, spec: FunctionSpec) -> None:
    play = Play(core, lambda key: 0.43)
    play.follow(core.open(spec, cpus=64))
    for number in range(250):  # five every 0.1 s: some twenty at once
        core.now = max(core.now, number * 0.1)
        play.run(InputsArrived("f", keys(5, f"c{number}")), until=(number + 1) * 0.1)
    late = [action for at, action in play.actions if 15.0 < at < 24.9]
    assert not [each for each in late if isinstance(each, (StartContainer, DrainContainer, KillContainer))]
    assert len(play.ended) > 1200

"""How many containers, where, and who gives way?"""

from __future__ import annotations

from unittest.mock import ANY

import pytest

from modicum.server.core.actions import (
    Action,
    Dispatch,
    DrainContainer,
    FailInputs,
    Failure,
    Send,
    StartContainer,
)
from modicum.server.core.autoscale import Autoscaler, Obstacle
from modicum.server.core.cluster import Place
from modicum.server.core.events import (
    ContainerExited,
    ContainerReady,
    ExitReason,
    FunctionAdded,
    FunctionSpec,
    InputsArrived,
    InputsCancelled,
    NodeJoined,
    NodeLeft,
    Recovered,
    Tick,
)
from modicum.server.core.pool import Pool
from modicum.testing.sim_driver import Driver, Play


def keys(count: int, call: str = "c") -> tuple[str, ...]:
    return tuple(f"{call}:{number}" for number in range(count))


def starts(actions: list[Action]) -> list[StartContainer]:
    return [action for action in actions if isinstance(action, StartContainer)]


def gone(container: str, reason: ExitReason = ExitReason.FINISHED) -> ContainerExited:
    return ContainerExited(container, reason, "")


def test_without_history_one_container_comes_first(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"))
    assert len(starts(core.feed(InputsArrived("f", keys(100))))) == 1
    assert core.wait(5.0) == []  # until something runs, nothing is known


def test_ten_inputs_of_a_second_get_ten_containers_within_a_quarter_of_a_second(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"), cpus=8)
    core.feed(InputsArrived("f", keys(10)))
    core.feed(ContainerReady("ta-t1"), at=0.3)
    assert len(starts(core.wait(0.3 + 0.05))) == 1  # ⌈10 × 0.05 / 0.3⌉ = 2
    assert len(starts(core.wait(0.3 + 0.16))) == 4  # ⌈10 × 0.16 / 0.3⌉ = 6
    assert len(starts(core.wait(0.3 + 0.28))) == 4  # ⌈10 × 0.28 / 0.3⌉ = 10
    assert starts(core.wait(2.0)) == []  # more could not be filled


def test_with_history_all_that_are_needed_start_at_once(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"), cpus=8)
    play = Play(core, lambda key: 0.1, start_s=0.3)
    play.run(InputsArrived("f", keys(8)), until=5.0)
    there = len(list(core.state.containers()))
    actions = core.feed(InputsArrived("f", keys(30, "d")), at=core.now)
    assert len(starts(actions)) == 10 - there  # ⌈30 × 0.1 / 0.3⌉ = 10


def test_a_backlog_that_is_worked_off_sooner_starts_nothing(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"))
    play = Play(core, lambda key: 0.001)
    play.run(InputsArrived("f", keys(200)), until=5.0)  # 200 × 1 ms < 0.3 s
    assert len(starts([action for _, action in play.actions])) == 1


def test_short_inputs_do_not_wait_for_the_end_of_a_long_one(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"))
    play = Play(core, lambda key: 60.0 if key == "long:0" else 0.01, start_s=0.3)
    for number in range(64):
        play.run(InputsArrived("f", (f"w{number}:0",)), until=core.now + 1.0)
    play.run(InputsArrived("f", ("long:0",)), until=core.now + 0.1)
    began = core.now
    play.run(InputsArrived("f", keys(5)), until=core.now + 5.0)
    assert (
        max(play.ended[key] for key in keys(5)) - began < 0.3 + 0.3 + 0.1
    )  # they wait for a start's time, and for one
    assert len(starts([action for _, action in play.actions])) == 2


def test_a_fast_cold_start_counts_as_a_fifth_of_a_second(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"))
    play = Play(core, lambda key: 0.01, start_s=0.0001)
    for call in range(20):  # learn the start, by many of them
        play.run(InputsArrived("f", (f"w{call}:0",)), until=core.now + 70.0)
        play.run(until=core.now + 70.0)
    actions = core.feed(InputsArrived("f", keys(39)))
    assert len(starts(actions)) == 2  # ⌈39 × 0.01 / 0.2⌉ = 2


def test_slots_count(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", slots=4), cpus=8)
    core.feed(InputsArrived("f", keys(8)))
    core.feed(ContainerReady("ta-t1"), at=0.3)
    assert len(starts(core.wait(30.0))) == 1  # 8 inputs fill two containers of 4


def test_max_containers_is_never_exceeded_not_even_by_one_that_is_leaving(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", max_containers=2, scaledown_window_s=10.0, timeout_s=5.0))
    core.feed(InputsArrived("f", keys(9)))
    core.feed(ContainerReady("ta-t1"), at=0.3)
    assert len(starts(core.wait(2.0))) == 1
    core.feed(ContainerReady("ta-t2"))
    assert starts(core.wait(7.0)) == []  # t1 is killed by its timeout at 5.3
    assert len(starts(core.feed(gone("ta-t1", ExitReason.KILLED)))) == 1


def test_starts_at_once_are_limited_by_the_machines_cpus(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=6), cpus=1)
    assert [each.id for each in core.state.containers()] == ["ta-t1", "ta-t2"]  # 2 × 1
    assert len(starts(core.feed(ContainerReady("ta-t1")))) == 1
    assert len(starts(core.feed(gone("ta-t2", ExitReason.NODE_LOST)))) == 1


def test_functions_start_in_turn(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=5), FunctionSpec("g", "app", min_containers=5), cpus=2)
    assert [each.function for each in core.state.containers()] == ["f", "g", "f", "g"]


def test_load_spreads_over_the_nodes(core: Driver) -> None:
    core.feed(NodeJoined("a", 2, 4096))
    core.feed(NodeJoined("b", 4, 4096))
    core.feed(FunctionAdded(FunctionSpec("f", "app", cpu=1.0, min_containers=6)))
    nodes = [action.node for action in starts(core.feed(Recovered()))]
    assert nodes == ["b", "b", "a", "b", "a", "b"] or sorted(nodes) == ["a", "a", "b", "b", "b", "b"]


def test_memory_counts_as_cpus_do(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", cpu=0.125, memory_mib=1000, min_containers=3), memory_mib=2500)
    assert len(list(core.state.containers())) == 2


def test_what_no_machine_could_hold_fails_with_a_reason(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", memory_mib=9000))
    [failed] = core.feed(InputsArrived("f", keys(2)))
    assert failed == FailInputs(("c:0", "c:1"), Failure.IMPOSSIBLE, ANY)
    assert isinstance(failed, FailInputs)
    assert (
        failed.message == "its container needs 0.125 CPUs and 9000 MiB, more than any machine has: n (4 CPUs, 8192 MiB)"
    )


def test_more_cpus_than_any_machine_has_take_the_largest_whole(core: Driver) -> None:
    large = [FunctionSpec(name, "app", cpu=64.0) for name in "fh"]
    core.open(*large, FunctionSpec("g", "app", cpu=0.125))
    assert len(starts(core.feed(InputsArrived("f", keys(1))))) == 1
    assert core.feed(InputsArrived("g", keys(1, "d"))) == []
    why = "no machine has 0.125 CPUs and 128 MiB free: n (0 of 4 CPUs, 8064 of 8192 MiB)"
    assert core.state.why_waiting("g") == why
    assert core.feed(InputsArrived("h", keys(1, "e"))) == []
    assert core.state.why_waiting("h").startswith("no machine has 4 CPUs and 128 MiB free"), "all that there are"
    assert core.state.why_impossible(FunctionSpec("f", "app", cpu=64.0)) == ""


def test_without_a_node_inputs_wait(core: Driver) -> None:
    core.feed(FunctionAdded(FunctionSpec("f", "app", min_containers=1)))
    core.feed(Recovered())
    assert core.feed(InputsArrived("f", keys(1))) == []
    assert core.state.why_waiting("f") == "no machine has joined yet"
    assert len(starts(core.feed(NodeJoined("n", 1, 1024)))) == 1
    assert core.feed(NodeLeft("n", "gone")) == []


def full(core: Driver, minimum: int = 0) -> None:
    """A node of one CPU, filled by ta-t1 of f and ta-t2 of g, both idle; f longer."""
    core.open(
        FunctionSpec("f", "app", cpu=0.5, min_containers=minimum),
        FunctionSpec("g", "app", cpu=0.5),
        FunctionSpec("h", "app", cpu=0.5),
        cpus=1,
    )
    for number, function in ((1, "f"), (2, "g")):
        if not minimum or function != "f":
            core.feed(InputsArrived(function, keys(1, function)))
        [*_] = core.feed(ContainerReady(f"ta-t{number}"))
    core.end("ta-t1", ("f:0", 1), at=1.0)
    core.end("ta-t2", ("g:0", 1), at=2.0)


def test_the_longest_idle_gives_way(core: Driver) -> None:
    full(core)
    assert core.feed(InputsArrived("h", keys(1))) == [DrainContainer("ta-t1", "h needs its place")]
    assert core.feed(InputsArrived("h", keys(1, "d"))) == []  # the room is on its way
    assert core.feed(gone("ta-t1")) == [StartContainer("ta-t3", "h", "n", ANY)]


def test_a_minimum_does_not_give_way_while_others_can(core: Driver) -> None:
    full(core, minimum=1)
    assert core.feed(InputsArrived("h", keys(1))) == [DrainContainer("ta-t2", "h needs its place")]


def test_a_minimum_gives_way_to_inputs_that_would_wait_for_ever(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=1), FunctionSpec("h", "app", cpu=64.0))
    core.feed(ContainerReady("ta-t1"))
    assert core.feed(InputsArrived("h", keys(1))) == [DrainContainer("ta-t1", "h needs its place")]
    assert core.feed(gone("ta-t1")) == [StartContainer("ta-t2", "h", "n", ANY)]  # and not f again


def test_only_as_many_give_way_as_must(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", cpu=0.5, min_containers=4), FunctionSpec("h", "app", cpu=1.0), cpus=2)
    for number in range(1, 5):
        core.feed(ContainerReady(f"ta-t{number}"), at=float(number))
    core.feed(FunctionAdded(FunctionSpec("f", "app", cpu=0.5)))
    assert core.feed(InputsArrived("h", keys(1))) == [DrainContainer("ta-t1", ANY), DrainContainer("ta-t2", ANY)]


def test_a_busy_function_shares_with_one_that_has_nothing(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", cpu=0.5, min_containers=2), FunctionSpec("g", "app", cpu=0.5), cpus=1)
    core.feed(FunctionAdded(FunctionSpec("f", "app", cpu=0.5)))
    core.feed(ContainerReady("ta-t1"))
    core.feed(ContainerReady("ta-t2"))
    core.feed(InputsArrived("f", keys(100)))
    assert core.feed(InputsArrived("g", keys(1, "g"))) == []
    first = core.end("ta-t1", ("c:0", 1), at=1.0)
    second = core.end("ta-t2", ("c:1", 1), at=1.0)
    drained = [action for action in first + second if isinstance(action, DrainContainer)]
    assert len(drained) == 1
    assert core.feed(gone(drained[0].container)) == [StartContainer("ta-t3", "g", "n", ANY)]
    assert core.feed(ContainerReady("ta-t3")) == [Send("ta-t3", (Dispatch("g:0", 1),))]


def test_only_as_many_busy_ones_go_as_must(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", cpu=0.5, min_containers=3), FunctionSpec("g", "app", cpu=0.5), cpus=1.5)
    core.feed(FunctionAdded(FunctionSpec("f", "app", cpu=0.5)))
    for number in (1, 2, 3):
        core.feed(ContainerReady(f"ta-t{number}"))
    core.feed(InputsArrived("f", keys(100)))
    core.feed(InputsArrived("g", keys(1, "g")))
    core.feed(InputsArrived("g", keys(1, "h")))
    actions = [
        core.end(each.id, *((f"c:{number}", 1) for number in range(3)), at=1.0) for each in core.state.containers()
    ]
    assert sum(isinstance(action, DrainContainer) for each in actions for action in each) == 1


def test_one_that_becomes_idle_goes_before_one_that_is_to_go_later(core: Driver) -> None:
    core.open(
        FunctionSpec("f", "app", cpu=0.5, min_containers=2),
        FunctionSpec("g", "app", cpu=0.5),
        FunctionSpec("h", "app", cpu=0.5),
        cpus=1.5,
    )
    core.feed(FunctionAdded(FunctionSpec("f", "app", cpu=0.5)))
    core.feed(ContainerReady("ta-t1"))
    core.feed(ContainerReady("ta-t2"))
    core.feed(InputsArrived("f", keys(100)))
    core.feed(InputsArrived("g", keys(1, "g")))
    core.feed(ContainerReady("ta-t3"))
    assert core.feed(InputsArrived("h", keys(1, "h"))) == []  # one of f is to go for it
    assert core.end("ta-t3", ("g:0", 1), at=1.0)[1:] == [DrainContainer("ta-t3", "h needs its place")]
    assert core.feed(gone("ta-t3")) == [StartContainer("ta-t4", "h", "n", ANY)]


def test_inputs_look_for_room_although_their_minimum_did_in_vain(core: Driver) -> None:
    core.open(FunctionSpec("g", "app", cpu=64.0, min_containers=1), cpus=1)
    core.feed(ContainerReady("ta-t1"))
    assert core.feed(FunctionAdded(FunctionSpec("f", "app", min_containers=1))) == []
    assert core.feed(InputsArrived("f", keys(1))) == [DrainContainer("ta-t1", "f needs its place")]


def test_who_comes_new_costs_those_that_wait_nothing(core: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class with a parameter for each of its users is as many functions as it has users."""
    core.open(FunctionSpec("f", "app", cpu=64.0), cpus=1)
    core.feed(InputsArrived("f", keys(1)))
    looked: list[str] = []
    find = Autoscaler._find_place

    def look(scaler: Autoscaler, pool: Pool, now: float) -> Place | Obstacle:
        looked.append(pool.spec.id)
        return find(scaler, pool, now)

    monkeypatch.setattr(Autoscaler, "_find_place", look)
    for number in range(20):
        core.feed(FunctionAdded(FunctionSpec(f"g{number}", "app", cpu=64.0)))
        core.feed(InputsArrived(f"g{number}", keys(1, f"g{number}")))
    assert looked == [f"g{number}" for number in range(20)]


def test_whole_machines_are_shared_by_time(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", cpu=64.0), FunctionSpec("g", "app", cpu=64.0))
    play = Play(core, lambda key: 0.1)
    play.run(InputsArrived("f", keys(200)), InputsArrived("g", keys(2, "g")), until=300.0)
    assert len(play.ended) == 202
    assert play.ended["g:0"] < 7.0  # f had its 5 s first
    assert max(play.ended.values()) < 22.0


def test_an_ended_wish_lets_others_have_the_room(core: Driver) -> None:
    """Room that is made for one is not left empty when he is gone."""
    core.open(FunctionSpec("f", "app", cpu=0.5, min_containers=2), FunctionSpec("h", "app", cpu=64.0), cpus=1)
    core.feed(ContainerReady("ta-t1"))
    core.feed(ContainerReady("ta-t2"))
    core.feed(InputsArrived("h", keys(1)))
    core.feed(gone("ta-t1"))
    assert len(starts(core.feed(InputsCancelled("h", ("c:0",))))) == 1


def test_the_way_to_a_container_is_explained(core: Driver) -> None:
    spec = FunctionSpec("f", "app", max_containers=1)
    assert core.state.why_waiting("f") == "its app has ended"
    core.feed(FunctionAdded(spec))
    assert core.state.why_waiting("f") == "the server has just started and waits for its machines to report"
    core.open(spec)
    core.feed(InputsArrived("f", keys(3)))
    assert core.state.why_waiting("f") == "1 container of it is starting"
    core.feed(ContainerReady("ta-t1"))
    assert core.state.why_waiting("f") == "its 1 container is busy"
    core.feed(gone("ta-t1", ExitReason.CRASHED))
    core.feed(gone("ta-t2", ExitReason.CRASHED))
    assert core.state.why_waiting("f").startswith("its last container failed, the next starts after a pause")


def test_containers_are_shown(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=1))
    core.feed(ContainerReady("ta-t1"), at=0.5)
    core.feed(InputsArrived("f", keys(1)), at=1.0)
    assert [tuple(each) for each in core.state.containers()] == [("ta-t1", "f", "n", "ready", 1, 0.5)]
    assert core.state.function_of("ta-t1") == "f"


def test_ids_count_in_base_36(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=40), cpus=20)
    assert [each.id for each in core.state.containers()][34:37] == ["ta-tz", "ta-t10", "ta-t11"]


def test_ticks_are_rare_when_nothing_happens(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=1, scaledown_window_s=60.0))
    core.feed(ContainerReady("ta-t1"))
    ticks = 0
    while (due := core.state.next_deadline()) is not None and due < 3600.0:
        core.feed(Tick(), due)
        ticks += 1
    assert ticks <= 61
    assert core.state.next_deadline() == pytest.approx(core.now + 60.0)

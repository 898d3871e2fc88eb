"""How does a new definition take over, how is a container stopped, and what waits in the store?"""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import ANY

import pytest

from modicum.server.core.actions import (
    Accept,
    Action,
    Dispatch,
    DrainContainer,
    FailInputs,
    Failure,
    KillContainer,
    LoadInputs,
    Send,
    StartContainer,
    StopContainer,
)
from modicum.server.core.events import (
    BacklogChanged,
    ContainerExited,
    ContainerLoaded,
    ContainerReady,
    ExitReason,
    FunctionAdded,
    FunctionRemoved,
    FunctionSpec,
    Held,
    InputsArrived,
    NodeJoined,
    Recovered,
    Reported,
    StartFailed,
    StopRequested,
)
from modicum.testing.sim_driver import Driver

F = FunctionSpec("f", "app", startup_timeout_s=30.0, generation=1)
NEWER = "a newer version of its function takes over"


def keys(count: int, call: str = "c") -> tuple[str, ...]:
    return tuple(f"{call}:{number}" for number in range(count))


def sent(container: str, *names: str, attempt: int = 1) -> Send:
    return Send(container, tuple(Dispatch(key, attempt) for key in names))


def started(number: int) -> StartContainer:
    return StartContainer(f"ta-t{number}", "f", "n", ANY)


def gone(container: str, reason: ExitReason = ExitReason.FINISHED) -> ContainerExited:
    return ContainerExited(container, reason, "")


def working(core: Driver, spec: FunctionSpec, busy: int = 1, idle: int = 0) -> None:
    """Containers of the first generation: the busy ones run c:0 and so on."""
    core.open(replace(spec, min_containers=busy + idle), cpus=16)
    for number in range(1, busy + idle + 1):
        core.feed(ContainerReady(f"ta-t{number}"))
    core.feed(InputsArrived("f", keys(busy)))
    core.feed(FunctionAdded(spec))


def newer(spec: FunctionSpec, recreate: bool = False) -> FunctionAdded:
    return FunctionAdded(replace(spec, generation=spec.generation + 1), recreate)


def test_the_old_take_inputs_until_one_of_the_new_is_loaded(core: Driver) -> None:
    working(core, F, busy=1, idle=1)
    assert core.feed(newer(F)) == [StartContainer("ta-t3", "f", "n", NEWER)]
    assert core.feed(InputsArrived("f", keys(1, "d"))) == [sent("ta-t1", "d:0")]
    assert core.feed(ContainerReady("ta-t3", loaded=False)) == []
    assert core.end("ta-t1", ("d:0", 1)) == [Accept(("d:0",))]
    assert core.feed(ContainerLoaded("ta-t3")) == [DrainContainer("ta-t1", NEWER)]
    assert core.feed(InputsArrived("f", keys(1, "e"))) == [sent("ta-t3", "e:0")]
    assert core.end("ta-t2", ("c:0", 1)) == [Accept(("c:0",)), DrainContainer("ta-t2", NEWER)]


def test_a_broken_new_definition_leaves_the_old_at_work(core: Driver) -> None:
    working(core, F)
    core.feed(newer(F))
    core.feed(InputsArrived("f", keys(1, "d")))
    assert core.feed(StartFailed("ta-t2", "ImportError")) == [KillContainer("ta-t2", ANY)]
    core.feed(gone("ta-t2", ExitReason.KILLED))
    assert core.end("ta-t1", ("c:0", 1)) == [Accept(("c:0",)), sent("ta-t1", "d:0")]
    assert core.wait(core.now + 0.2) == [
        StartContainer("ta-t3", "f", "n", f"{NEWER}; 1 in a row failed, the last because: ImportError")
    ]


def test_those_of_an_old_definition_that_are_not_loaded_yet_start_anew(core: Driver) -> None:
    core.open(F)
    core.feed(InputsArrived("f", keys(1)))
    assert core.feed(newer(F)) == [KillContainer("ta-t1", NEWER), started(2)]
    core.feed(gone("ta-t1", ExitReason.KILLED))
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:0")]


def test_the_new_never_exceed_the_maximum_together_with_the_old(core: Driver) -> None:
    spec = replace(F, max_containers=2)
    working(core, spec, busy=2)
    assert core.feed(newer(spec)) == []  # one of them gives way first
    assert core.feed(InputsArrived("f", keys(1, "d"))) == []
    ends = core.end("ta-t1", ("c:1", 1)) + core.end("ta-t2", ("c:0", 1))
    [drained] = [action for action in ends if isinstance(action, DrainContainer)]
    stays = "ta-t2" if drained.container == "ta-t1" else "ta-t1"
    assert sent(stays, "d:0") in ends
    assert core.feed(gone(drained.container)) == [started(3)]
    core.feed(ContainerReady("ta-t3"))
    assert core.end(stays, ("d:0", 1)) == [Accept(("d:0",)), DrainContainer(stays, NEWER)]


def test_the_new_find_room_where_the_old_fill_the_machine(core: Driver) -> None:
    spec = replace(F, cpu=64.0)
    working(core, spec)
    core.feed(newer(spec))
    assert core.end("ta-t1", ("c:0", 1)) == [Accept(("c:0",)), DrainContainer("ta-t1", ANY)]
    assert core.feed(gone("ta-t1")) == []  # nobody calls: nothing is to be taken over any more
    assert core.feed(InputsArrived("f", keys(1, "d"))) == [started(2)]


def test_the_new_find_room_although_the_old_never_idle(core: Driver) -> None:
    spec = replace(F, cpu=64.0)
    working(core, spec)
    core.feed(InputsArrived("f", keys(9, "d")))
    core.feed(newer(spec))
    assert core.end("ta-t1", ("c:0", 1)) == [Accept(("c:0",)), DrainContainer("ta-t1", ANY)]
    assert core.feed(gone("ta-t1")) == [started(2)]
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "d:0")]


def test_a_minimum_is_of_the_new_definition_in_the_end(core: Driver) -> None:
    spec = replace(F, min_containers=2)
    working(core, spec, busy=0, idle=2)
    assert core.feed(newer(spec)) == [started(3)]
    assert core.feed(ContainerReady("ta-t3"))[:2] == [DrainContainer("ta-t1", NEWER), DrainContainer("ta-t2", NEWER)]
    assert sorted(each.id for each in core.state.containers() if each.state == "starting") == ["ta-t4"]


@pytest.mark.parametrize("exits", [False, True])
def test_recreation_ends_the_old_at_once_and_runs_what_they_ran_again(core: Driver, exits: bool) -> None:
    spec = replace(F, exits=exits)
    working(core, spec)
    end = StopContainer("ta-t1", NEWER) if exits else KillContainer("ta-t1", NEWER)
    assert core.feed(newer(spec, recreate=True)) == [end, started(2)]
    assert core.end("ta-t1", ("c:0", 1)) == []  # too late
    assert core.feed(gone("ta-t1", ExitReason.KILLED)) == []
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:0", attempt=2)]


def test_one_that_does_not_stop_is_killed(core: Driver) -> None:
    spec = replace(F, exits=True)
    working(core, spec)
    core.feed(newer(spec, recreate=True))
    assert core.feed(ContainerReady("ta-t1", (Held("c:0", 1),))) == [StopContainer("ta-t1", ANY)]
    assert KillContainer("ta-t1", "it did not exit within 30 s") in core.wait(30.0)


def test_an_adopted_container_of_an_old_definition_finishes_and_goes(core: Driver) -> None:
    core.feed(FunctionAdded(replace(F, generation=3)))
    core.feed(NodeJoined("n", 4, 8192, (Reported("ta-o1", "f", 2), Reported("ta-o2", "f", 3))))
    core.feed(Recovered())
    core.feed(ContainerReady("ta-o1", (Held("c:0", 1),)))
    core.feed(ContainerReady("ta-o2"))
    assert core.feed(InputsArrived("f", ("c:0", "c:1"))) == [sent("ta-o2", "c:1")]
    assert core.end("ta-o1", ("c:0", 1)) == [Accept(("c:0",)), DrainContainer("ta-o1", NEWER)]


@pytest.mark.parametrize("exits", [False, True])
def test_exit_handlers_run_when_the_app_ends(core: Driver, exits: bool) -> None:
    working(core, replace(F, exits=exits))
    failed, end = core.feed(FunctionRemoved("f", "it was deployed without it"))
    assert failed == FailInputs(("c:0",), Failure.CANCELLED, "it was deployed without it")
    assert isinstance(end, StopContainer if exits else KillContainer)
    if exits:
        assert core.wait(30.0) == [KillContainer("ta-t1", ANY)]


def test_a_stop_that_is_graceful_lets_what_runs_finish(core: Driver) -> None:
    working(core, F)
    assert core.feed(StopRequested("ta-t1", graceful=True)) == []
    assert core.feed(InputsArrived("f", keys(1, "d"))) == []
    assert core.state.waits_for_container("f") == 1
    assert core.end("ta-t1", ("c:0", 1)) == [
        Accept(("c:0",)),
        DrainContainer("ta-t1", "it was asked to stop"),
        started(2),
    ]
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "d:0")]


def test_a_stop_that_is_not_interrupts_and_runs_it_elsewhere(core: Driver) -> None:
    working(core, F)
    assert core.feed(StopRequested("ta-t1", graceful=False)) == [StopContainer("ta-t1", ANY), started(2)]
    core.feed(gone("ta-t1"))
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:0", attempt=2)]


def test_a_stop_ends_one_that_starts_and_unknown_ones_are_no_error(core: Driver) -> None:
    core.open(replace(F, min_containers=1))
    assert core.feed(StopRequested("ta-t1", graceful=True))[0] == KillContainer("ta-t1", "it was asked to stop")
    assert core.feed(StopRequested("ta-t1", graceful=True)) == []
    assert core.feed(StopRequested("ta-x", graceful=False)) == []


def test_no_input_comes_before_the_function_is_loaded(core: Driver) -> None:
    core.open(F)
    core.feed(InputsArrived("f", keys(1)))
    assert core.feed(ContainerReady("ta-t1", loaded=False), at=1.0) == []
    assert core.state.why_waiting("f") == "1 container of it is loading"
    assert core.feed(ContainerLoaded("ta-t1"), at=20.0) == [sent("ta-t1", "c:0")]
    assert core.wait(300.0) == []  # the timeout counts from 20
    assert core.feed(ContainerLoaded("ta-t1")) == []


def test_the_startup_timeout_counts_to_the_end_of_loading(core: Driver) -> None:
    core.open(F)
    core.feed(InputsArrived("f", keys(1)))
    core.feed(ContainerReady("ta-t1", loaded=False), at=20.0)
    core.feed(ContainerReady("ta-t1", loaded=False), at=25.0)
    assert core.wait(30.0) == [KillContainer("ta-t1", "it was not ready within its startup timeout of 30 s")]


def test_one_that_dies_while_it_loads_has_failed_to_start(core: Driver) -> None:
    core.open(replace(F, max_containers=1))
    core.feed(InputsArrived("f", keys(1)))
    actions: list[Action] = []
    for number in (1, 2, 3):
        core.feed(ContainerReady(f"ta-t{number}", loaded=False))
        actions = core.feed(gone(f"ta-t{number}", ExitReason.CRASHED))
        if number == 2:
            core.wait(core.now + 1.0)
            assert core.state.why_waiting("f").startswith("1 container of it is starting, after 2 that failed")
        core.wait(core.now + 1.0)
    assert actions == [FailInputs(("c:0",), Failure.START_FAILED, ANY)]


def test_how_long_a_start_takes_counts_to_the_end_of_loading(core: Driver) -> None:
    core.open(F, cpus=16)
    core.feed(InputsArrived("f", keys(20)))
    core.feed(ContainerReady("ta-t1", loaded=False), at=0.1)
    core.feed(ContainerLoaded("ta-t1"), at=6.0)
    starts = [action for action in core.wait(7.0) if isinstance(action, StartContainer)]
    assert len(starts) == 9  # ⌈20 × 1 / 2.2⌉ = 10


def test_a_lower_maximum_has_those_go_that_do_least(core: Driver) -> None:
    working(core, F, busy=2, idle=1)
    core.feed(InputsArrived("f", keys(4, "d")))
    core.feed(FunctionAdded(replace(F, max_containers=1)))
    actions = [core.end(f"ta-t{number}", *((key, 1) for key in ("c:0", "c:1", "d:0"))) for number in (1, 2, 3)]
    assert sum(isinstance(each, DrainContainer) for every in actions for each in every) == 2


def test_inputs_are_taken_from_the_store_when_few_are_queued(core: Driver) -> None:
    core.open(replace(F, max_containers=1))
    core.feed(InputsArrived("f", keys(1)))
    core.feed(ContainerReady("ta-t1"))
    assert core.feed(BacklogChanged("f", 5000)) == [LoadInputs("f", 1000)]
    assert core.state.stats("f").backlog == 5000
    assert core.feed(InputsArrived("f", keys(1000, "d"))) == []
    assert core.state.queued("f") == 1000
    assert core.feed(BacklogChanged("f", 4000)) == []
    [*_, load] = core.end("ta-t1", ("c:0", 1))
    assert load == LoadInputs("f", 1000)
    core.feed(BacklogChanged("f", 3))
    assert core.feed(BacklogChanged("f", 2))[0] == LoadInputs("f", 2)


def test_what_waits_in_the_store_counts_as_load(core: Driver) -> None:
    core.open(F, cpus=8)
    assert core.feed(BacklogChanged("f", 8)) == [started(1), LoadInputs("f", 8)]
    core.feed(InputsArrived("f", keys(1)))
    core.feed(BacklogChanged("f", 7))
    core.feed(ContainerReady("ta-t1"))
    assert len([action for action in core.wait(1.0) if isinstance(action, StartContainer)]) == 7


def test_inputs_from_the_store_do_not_end_a_pause_after_failed_starts(core: Driver) -> None:
    core.open(F)
    core.feed(BacklogChanged("f", 2))
    core.feed(InputsArrived("f", keys(1)))
    actions = core.feed(StartFailed("ta-t1", "ImportError: no"))
    assert FailInputs(("c:0",), Failure.START_FAILED, "ImportError: no") in actions
    core.feed(BacklogChanged("f", 1))
    core.feed(gone("ta-t1", ExitReason.KILLED))
    assert core.feed(InputsArrived("f", keys(1, "d"))) == []
    assert core.wait(0.2) == [started(2)]


def test_nothing_is_known_of_what_is_gone(core: Driver) -> None:
    core.open()
    assert core.state.stats("f") == (0, 0, 0, 0)
    assert core.state.queued("f") == 0
    assert core.feed(BacklogChanged("f", 3)) == []

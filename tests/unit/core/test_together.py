"""Several inputs in one container, one input per container, and containers that are kept: who gets what?"""

from __future__ import annotations

from unittest.mock import ANY

from modicum.server.core.actions import Accept, Action, Dispatch, DrainContainer, KillContainer, Send, StartContainer
from modicum.server.core.events import (
    ContainerExited,
    ContainerReady,
    ExitReason,
    FunctionAdded,
    FunctionSpec,
    Held,
    InputsArrived,
    NodeJoined,
    Recovered,
    Reported,
)
from modicum.server.core.records import Stats
from modicum.testing.sim_driver import Driver, Play


def keys(count: int, call: str = "c") -> tuple[str, ...]:
    return tuple(f"{call}:{number}" for number in range(count))


def starts(actions: list[Action]) -> int:
    return sum(isinstance(action, StartContainer) for action in actions)


def sizes(actions: list[Action]) -> dict[str, int]:
    return {action.container: len(action.inputs) for action in actions if isinstance(action, Send)}


def sent(container: str, *names: str) -> Send:
    return Send(container, tuple(Dispatch(key, 1) for key in names))


def gone(container: str) -> ContainerExited:
    return ContainerExited(container, ExitReason.FINISHED, "")


def ready(core: Driver, spec: FunctionSpec, count: int) -> None:
    """So many idle containers, the first the longest."""
    core.open(spec, cpus=16)
    for number in range(1, count + 1):
        core.feed(ContainerReady(f"ta-t{number}"))


def test_one_is_filled_up_to_the_aim_before_the_next(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", slots=10, target=4, min_containers=3), 3)
    assert sizes(core.feed(InputsArrived("f", keys(2)))) == {"ta-t3": 2}
    assert sizes(core.feed(InputsArrived("f", keys(3, "d")))) == {"ta-t3": 2, "ta-t2": 1}


def test_a_burst_goes_up_to_the_most_while_others_start(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", slots=10, target=4, min_containers=1), 1)
    assert sizes(core.feed(InputsArrived("f", keys(14)))) == {"ta-t1": 10}
    assert core.state.stats("f") == Stats(backlog=4, runners=1, running=10, headroom=0)
    assert starts(core.wait(5.0)) == 3  # ⌈14 / 4⌉ = 4
    assert sizes(core.feed(ContainerReady("ta-t2"))) == {"ta-t2": 4}


def test_above_the_aim_others_start_although_nothing_waits(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", slots=10, target=4, min_containers=1), 1)
    core.feed(InputsArrived("f", keys(9)))
    assert starts(core.wait(5.0)) == 2  # ⌈9 / 4⌉ = 3
    assert core.state.queued("f") == 0


def test_what_is_above_the_aim_keeps_idle_containers(core: Driver) -> None:
    """A steady load neither starts nor stops any."""
    ready(core, FunctionSpec("f", "app", slots=10, target=4, min_containers=1, scaledown_window_s=5.0), 1)
    core.feed(InputsArrived("f", keys(9)))
    core.wait(1.0)
    core.feed(ContainerReady("ta-t2"))
    core.feed(ContainerReady("ta-t3"))
    assert core.wait(200.0) == []


def test_a_batch_is_collected_in_one_container(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", slots=4, batch_size=4, batch_wait_s=1.0, min_containers=2), 2)
    assert core.feed(InputsArrived("f", keys(1))) == [sent("ta-t2", "c:0")]
    assert core.feed(InputsArrived("f", keys(2, "d")), at=0.9) == [sent("ta-t2", "d:0", "d:1")]
    assert core.feed(InputsArrived("f", keys(2, "e")), at=1.1) == [sent("ta-t1", "e:0", "e:1")]  # that one runs by now
    core.feed(InputsArrived("f", keys(7, "g")), at=1.2)
    assert core.state.queued("f") == 5


def test_what_waits_for_a_batch_to_end_comes_as_the_next(core: Driver) -> None:
    spec = FunctionSpec("f", "app", slots=4, batch_size=4, min_containers=1, max_containers=1)
    ready(core, spec, 1)
    core.feed(InputsArrived("f", keys(1)))
    for number in range(6):
        assert core.feed(InputsArrived("f", keys(1, f"d{number}"))) == []
    [_, send] = core.end("ta-t1", ("c:0", 1))
    assert send == sent("ta-t1", *(f"d{number}:0" for number in range(4)))


def test_a_batch_that_runs_long_does_not_hold_up_the_others(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", slots=4, batch_size=4, min_containers=1), 1)
    core.feed(InputsArrived("f", keys(1)))
    assert core.feed(InputsArrived("f", keys(1, "d"))) == []
    assert starts(core.wait(2.0)) == 1


def test_the_wait_for_company_is_no_part_of_the_timeout(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", slots=4, batch_size=4, batch_wait_s=9.0, timeout_s=5.0, min_containers=1), 1)
    core.feed(InputsArrived("f", keys(1)))
    assert core.wait(13.9) == []
    assert KillContainer("ta-t1", ANY) in core.wait(14.0)


def test_a_container_for_a_single_use_runs_one_input_and_goes(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", single_use=True, max_containers=2), 0)
    assert starts(core.feed(InputsArrived("f", keys(4)))) == 2
    assert core.feed(ContainerReady("ta-t1")) == [sent("ta-t1", "c:0")]
    assert core.end("ta-t1", ("c:0", 1)) == [Accept(("c:0",)), DrainContainer("ta-t1", "it is used once")]
    assert core.feed(gone("ta-t1")) == [StartContainer("ta-t3", "f", "n", ANY)]
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:1")]
    core.end("ta-t2", ("c:1", 1))
    assert core.feed(gone("ta-t2")) == [StartContainer("ta-t4", "f", "n", ANY)]


def test_a_container_for_a_single_use_may_go_by_itself(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", single_use=True, min_containers=1), 1)
    core.feed(InputsArrived("f", keys(1)))
    core.end("ta-t1", ("c:0", 1))
    assert starts(core.feed(gone("ta-t1"))) <= 1
    assert core.state.why_waiting("f") == "1 container of it is starting"  # and no word of a failure


def test_a_container_for_a_single_use_is_not_used_after_a_restart(core: Driver) -> None:
    spec = FunctionSpec("f", "app", single_use=True)
    core.feed(FunctionAdded(spec))
    core.feed(NodeJoined("n", 4, 8192, (Reported("ta-o1", "f"), Reported("ta-o2", "f"))))
    core.feed(ContainerReady("ta-o1", (Held("c:0", 1),)))
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    core.feed(ContainerReady("ta-o2"))
    actions = core.feed(Recovered())
    assert sizes(actions) == {}
    assert starts(actions) == 1
    assert core.end("ta-o1", ("c:0", 1)) == [Accept(("c:0",)), DrainContainer("ta-o1", ANY)]


def test_a_buffer_is_there_beside_what_is_busy(core: Driver) -> None:
    spec = FunctionSpec("f", "app", buffer_containers=2, scaledown_window_s=10.0)
    ready(core, spec, 0)
    assert list(core.state.containers()) == []  # not while nobody calls
    assert starts(core.feed(InputsArrived("f", keys(1)))) == 3
    for number in (1, 2, 3):
        core.feed(ContainerReady(f"ta-t{number}"))
    assert core.wait(9.0) == []  # one runs, two idle
    assert starts(core.feed(InputsArrived("f", keys(2, "d")))) == 2


def test_a_buffer_stays_while_the_function_is_in_use_and_goes_then(core: Driver) -> None:
    ready(core, FunctionSpec("f", "app", buffer_containers=2, scaledown_window_s=10.0), 0)
    play = Play(core, lambda key: 0.1)
    for number in range(20):
        core.now = max(core.now, number * 4.0)
        play.run(InputsArrived("f", keys(1, f"c{number}")), until=(number + 1) * 4.0)
    assert starts([action for _, action in play.actions]) == 3
    play.run(until=core.now + 100.0)
    assert list(core.state.containers()) == []

"""What becomes of containers, and of what they hold, when things go wrong?"""

from __future__ import annotations

from unittest.mock import ANY

import pytest

from modicum.server.core.actions import (
    Accept,
    CancelInputs,
    Dispatch,
    DrainContainer,
    FailInputs,
    Failure,
    KillContainer,
    Send,
    StartContainer,
)
from modicum.server.core.events import (
    ContainerExited,
    ContainerReady,
    ExitReason,
    FunctionAdded,
    FunctionRemoved,
    FunctionSpec,
    Held,
    InputsArrived,
    InputsCancelled,
    NodeJoined,
    NodeLeft,
    Recovered,
    Reported,
    StartFailed,
    Tick,
)
from modicum.testing.sim_driver import Driver

ONE = FunctionSpec("f", "app", max_containers=1, scaledown_window_s=10.0, timeout_s=20.0, startup_timeout_s=30.0)


def one_running(core: Driver, *keys: str) -> None:
    """A container that runs the first of these inputs; the others are queued."""
    core.open(ONE)
    core.feed(InputsArrived("f", keys))
    core.feed(ContainerReady("ta-t1"), at=1.0)


def pipelined(core: Driver, *keys: str) -> None:
    """A container inside which the others wait behind the first."""
    one_running(core, *(f"w:{number}" for number in range(8)))
    for number in range(8):
        core.end("ta-t1", (f"w:{number}", 1), run_s=0.0001)
    [send] = core.feed(InputsArrived("f", keys))
    assert send == sent("ta-t1", *keys)


def sent(container: str, *keys: str, attempt: int = 1) -> Send:
    return Send(container, tuple(Dispatch(key, attempt) for key in keys))


def started(number: int, function: str = "f") -> StartContainer:
    return StartContainer(f"ta-t{number}", function, "n", ANY)


def crash(
    core: Driver, container: str, at: float | None = None, reason: ExitReason = ExitReason.CRASHED
) -> list[object]:
    return list(core.feed(ContainerExited(container, reason, "signal 11"), at))


def test_what_ran_in_a_crash_runs_again_first(core: Driver) -> None:
    one_running(core, "c:0", "c:1")
    assert crash(core, "ta-t1") == [started(2)]
    assert core.feed(ContainerReady("ta-t2"), at=2.0) == [sent("ta-t2", "c:0", attempt=2)]
    assert core.end("ta-t2", ("c:0", 2)) == [Accept(("c:0",)), sent("ta-t2", "c:1")]


@pytest.mark.parametrize("reason", [ExitReason.CRASHED, ExitReason.FINISHED])
def test_the_fourth_crash_fails_an_input(core: Driver, reason: ExitReason) -> None:
    one_running(core, "c:0", "c:1")
    for number in range(1, 4):
        crash(core, f"ta-t{number}", reason=reason)
        core.wait(core.now + 1.0)  # the pause before the next start: 0, then 0.1, then 0.2 s
        assert core.feed(ContainerReady(f"ta-t{number + 1}")) == [sent(f"ta-t{number + 1}", "c:0", attempt=number + 1)]
    [failed, *_] = crash(core, "ta-t4", reason=reason)
    assert failed == FailInputs(("c:0",), Failure.CRASHED, ANY)
    assert isinstance(failed, FailInputs)
    assert "ta-t4" in failed.message
    assert "signal 11" in failed.message


@pytest.mark.parametrize("reason", [ExitReason.NODE_LOST, ExitReason.KILLED])
def test_an_input_is_not_charged_for_what_was_done_to_it(core: Driver, reason: ExitReason) -> None:
    one_running(core, "c:0")
    for number in range(1, 9):
        assert crash(core, f"ta-t{number}", reason=reason) == [started(number + 1)]
        assert core.feed(ContainerReady(f"ta-t{number + 1}")) == [sent(f"ta-t{number + 1}", "c:0", attempt=number + 1)]


def test_what_waited_inside_a_crashed_container_keeps_its_place_and_is_not_charged(core: Driver) -> None:
    pipelined(core, "c:0", "c:1", "c:2")
    core.feed(InputsArrived("f", ("d:0",)))
    crash(core, "ta-t1")
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:0", attempt=2)]
    assert core.end("ta-t2", ("c:0", 2)) == [Accept(("c:0",)), sent("ta-t2", "c:1", attempt=2)]
    assert core.end("ta-t2", ("c:1", 2)) == [Accept(("c:1",)), sent("ta-t2", "c:2", attempt=2)]
    assert core.end("ta-t2", ("c:2", 2)) == [Accept(("c:2",)), sent("ta-t2", "d:0", attempt=2)]


def test_after_a_crash_inputs_go_one_at_a_time_until_all_suspects_have_run(core: Driver) -> None:
    pipelined(core, *(f"c:{number}" for number in range(12)))
    crash(core, "ta-t1")
    core.feed(ContainerReady("ta-t2"))
    core.feed(InputsArrived("f", tuple(f"d:{number}" for number in range(5))))
    for number in range(11):
        assert core.end("ta-t2", (f"c:{number}", 2), run_s=0.0001) == [ANY, sent("ta-t2", f"c:{number + 1}", attempt=2)]
    assert core.end("ta-t2", ("c:11", 2), run_s=0.0001)[1:] == [sent("ta-t2", *(f"d:{number}" for number in range(5)))]


def test_a_crash_loop_is_slowed_down(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=1, max_containers=1))
    core.feed(ContainerReady("ta-t1"))
    assert crash(core, "ta-t1") == [started(2)]
    core.feed(ContainerReady("ta-t2"))
    assert crash(core, "ta-t2") == []
    assert core.state.next_deadline() == pytest.approx(0.1)
    assert core.feed(Tick(), at=0.1) == [started(3)]


def test_a_timeout_counts_from_the_start_of_the_input_itself(core: Driver) -> None:
    one_running(core, "c:0", "c:1")
    core.end("ta-t1", ("c:0", 1), at=19.0)
    assert core.wait(38.9) == []
    assert core.feed(Tick(), at=39.0) == [FailInputs(("c:1",), Failure.TIMEOUT, ANY), KillContainer("ta-t1", ANY)]


def test_what_waits_behind_a_timeout_runs_elsewhere(core: Driver) -> None:
    pipelined(core, "c:0", "c:1", "c:2")
    core.feed(ContainerReady("ta-t1", (Held("c:0", 1), Held("c:1", 1), Held("c:2", 1))))
    failed, killed = core.feed(Tick(), at=21.0)
    assert (failed, killed) == (FailInputs(("c:0",), Failure.TIMEOUT, ANY), KillContainer("ta-t1", ANY))
    assert core.end("ta-t1", ("c:0", 1), ("c:1", 1)) == []  # too late
    assert crash(core, "ta-t1", reason=ExitReason.KILLED) == [started(2)]  # not before: max_containers is 1
    actions = core.feed(ContainerReady("ta-t2"))
    assert actions == [sent("ta-t2", "c:1", "c:2", attempt=2)]


def test_a_cancelled_input_that_does_not_end_is_ended_by_its_timeout(core: Driver) -> None:
    one_running(core, "c:0")
    core.feed(InputsCancelled("f", ("c:0",)))
    assert core.wait(21.0) == [KillContainer("ta-t1", ANY)]


def test_a_container_that_is_not_ready_in_time_is_killed(core: Driver) -> None:
    core.open(ONE)
    core.feed(InputsArrived("f", ("c:0",)))
    assert core.wait(29.9) == []
    assert core.feed(Tick(), at=30.0) == [KillContainer("ta-t1", ANY)]
    assert crash(core, "ta-t1", reason=ExitReason.KILLED) == []
    assert core.wait(30.1) == [started(2)]


def test_three_failed_starts_in_a_row_fail_what_is_queued(core: Driver) -> None:
    core.open(ONE)
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    assert crash(core, "ta-t1", at=1.0) == []
    assert core.wait(1.1) == [started(2)]
    assert crash(core, "ta-t2", at=2.0) == []
    assert core.wait(2.19) == []
    assert core.wait(2.2) == [started(3)]
    [failed] = crash(core, "ta-t3", at=3.0)
    assert failed == FailInputs(("c:0", "c:1"), Failure.START_FAILED, ANY)
    assert isinstance(failed, FailInputs)
    assert "signal 11" in failed.message
    assert core.feed(InputsArrived("f", ("d:0",))) == [started(4)]  # whoever comes next may try again


def test_failed_starts_do_not_fail_inputs_while_another_container_works(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=1, max_containers=2))
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    core.feed(ContainerReady("ta-t1"), at=0.1)
    starts = core.wait(1.0)
    assert starts == [started(2)]
    for number in range(2, 8):
        assert crash(core, f"ta-t{number}") == []
        core.wait(core.now + 10.0)
    assert core.end("ta-t1", ("c:0", 1)) == [Accept(("c:0",)), sent("ta-t1", "c:1")]


def test_a_ready_container_in_between_forgives_failed_starts(core: Driver) -> None:
    core.open(ONE)
    core.feed(InputsArrived("f", ("c:0",)))
    for number in (1, 2):
        crash(core, f"ta-t{number}")
        core.wait(core.now + 1.0)
    core.feed(ContainerReady("ta-t3"))
    crash(core, "ta-t3")
    core.wait(core.now + 1.0)
    assert crash(core, "ta-t4") == []


def test_a_function_that_cannot_be_loaded_fails_all_that_waits(core: Driver) -> None:
    core.open(ONE)
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    assert core.feed(StartFailed("ta-t1", "ImportError: no")) == [
        KillContainer("ta-t1", ANY),
        FailInputs(("c:0", "c:1"), Failure.START_FAILED, "ImportError: no"),
    ]
    assert core.feed(StartFailed("ta-t1", "ImportError: no")) == []
    assert crash(core, "ta-t1", reason=ExitReason.KILLED) == []
    assert core.feed(InputsArrived("f", ("d:0",))) == [started(2)]


def test_an_idle_container_goes_after_its_window(core: Driver) -> None:
    one_running(core, "c:0")
    core.end("ta-t1", ("c:0", 1), at=2.0)
    assert core.wait(11.9) == []
    assert core.wait(12.0) == [DrainContainer("ta-t1", "idle for 10 s")]
    assert core.feed(InputsArrived("f", ("c:1",))) == []  # max_containers is 1, and it is still there
    assert core.feed(ContainerReady("ta-t1")) == [DrainContainer("ta-t1", ANY)]
    assert crash(core, "ta-t1", reason=ExitReason.FINISHED) == [started(2)]


def test_a_minimum_stays(core: Driver) -> None:
    spec = FunctionSpec("f", "app", min_containers=1, scaledown_window_s=10.0)
    assert core.open(spec) == [started(1)]
    core.feed(ContainerReady("ta-t1"))
    assert core.wait(100.0) == []
    assert crash(core, "ta-t1", reason=ExitReason.NODE_LOST) == [started(2)]


def test_one_that_does_not_exit_is_killed(core: Driver) -> None:
    one_running(core, "c:0")
    core.end("ta-t1", ("c:0", 1), at=2.0)
    assert core.wait(42.0) == [DrainContainer("ta-t1", ANY), KillContainer("ta-t1", "it did not exit when asked")]
    assert core.feed(ContainerReady("ta-t1")) == [KillContainer("ta-t1", ANY)]


def test_a_removed_function_leaves_nothing(core: Driver) -> None:
    one_running(core, "c:0", "c:1", "c:2")
    core.feed(InputsCancelled("f", ("c:1",)))
    assert core.feed(FunctionRemoved("f")) == [
        FailInputs(("c:0", "c:2"), Failure.CANCELLED, "its app has ended"),
        KillContainer("ta-t1", "its app has ended"),
    ]
    assert core.end("ta-t1", ("c:0", 1)) == []
    assert core.state.function_of("ta-t1") == "f"  # it still fills its node
    assert crash(core, "ta-t1", reason=ExitReason.KILLED) == []
    assert core.state.function_of("ta-t1") is None
    assert core.feed(FunctionRemoved("f")) == []


def test_a_lost_node_loses_its_containers(core: Driver) -> None:
    one_running(core, "c:0")
    assert core.feed(NodeLeft("n", "it burns")) == []
    assert list(core.state.containers()) == []
    assert core.feed(NodeJoined("n", 1, 1024)) == [started(2)]
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:0", attempt=2)]


def test_what_got_lost_with_a_connection_is_sent_again(core: Driver) -> None:
    pipelined(core, "c:0", "c:1", "c:2")
    actions = core.feed(ContainerReady("ta-t1", (Held("c:0", 1), Held("c:1", 1))))
    assert actions == [sent("ta-t1", "c:2", attempt=2)]


def test_a_cancellation_is_repeated_after_a_lost_connection(core: Driver) -> None:
    one_running(core, "c:0")
    core.feed(InputsCancelled("f", ("c:0",)))
    assert core.feed(ContainerReady("ta-t1", (Held("c:0", 1),))) == [CancelInputs("ta-t1", ("c:0",))]


def test_a_node_that_joins_again_tells_what_it_has(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=2))
    core.feed(ContainerReady("ta-t1"))
    core.feed(ContainerReady("ta-t2"))
    assert core.feed(NodeJoined("n", 4, 8192, (Reported("ta-t1", "f"), Reported("ta-x", "gone")))) == [
        KillContainer("ta-x", "its app has ended"),
        started(3),
    ]


def restarted(core: Driver) -> None:
    """A server that comes back to a node which runs ta-o1 of f."""
    core.feed(FunctionAdded(ONE))
    core.feed(NodeJoined("n", 4, 8192, (Reported("ta-o1", "f"),)))


def test_a_container_that_outlived_its_server_keeps_its_inputs(core: Driver) -> None:
    restarted(core)
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    assert core.feed(ContainerReady("ta-o1", (Held("c:0", 3),))) == []
    assert core.feed(Recovered(), at=1.0) == []
    assert core.end("ta-o1", ("c:0", 3)) == [Accept(("c:0",)), sent("ta-o1", "c:1")]


def test_an_input_resubmitted_after_its_container_came_back_is_joined(core: Driver) -> None:
    restarted(core)
    core.feed(ContainerReady("ta-o1", (Held("c:0", 3),)))
    core.feed(Recovered(), at=1.0)
    assert core.feed(InputsArrived("f", ("c:0", "c:1"))) == []
    assert core.end("ta-o1", ("c:0", 3)) == [Accept(("c:0",)), sent("ta-o1", "c:1")]


def test_the_output_of_an_input_that_nobody_has_resubmitted_yet_is_kept(core: Driver) -> None:
    restarted(core)
    core.feed(ContainerReady("ta-o1", (Held("c:0", 3),)))
    core.feed(Recovered(), at=1.0)
    assert core.end("ta-o1", ("c:0", 3)) == [Accept(("c:0",))]


def test_an_input_that_nobody_resubmitted_dies_with_its_container(core: Driver) -> None:
    restarted(core)
    core.feed(ContainerReady("ta-o1", (Held("c:0", 3),)))
    core.feed(Recovered(), at=1.0)
    assert crash(core, "ta-o1") == []
    assert core.state.next_deadline() is None


def test_an_adopted_container_whose_agent_is_silent_is_killed(core: Driver) -> None:
    restarted(core)
    core.feed(Recovered(), at=3.0)
    core.feed(InputsArrived("f", ("c:0",)))
    assert core.wait(4.9) == []
    assert core.wait(5.0) == [KillContainer("ta-o1", ANY)]
    assert crash(core, "ta-o1", reason=ExitReason.KILLED) == [started(1)]


def test_a_container_of_a_function_that_comes_back_later_is_adopted(core: Driver) -> None:
    core.feed(NodeJoined("n", 4, 8192, (Reported("ta-o1", "f"), Reported("ta-o2", "g"))))
    core.feed(FunctionAdded(ONE))
    assert core.feed(Recovered()) == [KillContainer("ta-o2", "its app has ended")]
    assert core.state.function_of("ta-o1") == "f"


def test_a_container_that_runs_what_others_were_given_since_is_ended(core: Driver) -> None:
    core.open(FunctionSpec("f", "app"))
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    core.feed(ContainerReady("ta-t1"))
    core.feed(NodeJoined("m", 4, 8192, (Reported("ta-o1", "f"),)))
    actions = core.feed(ContainerReady("ta-o1", (Held("c:0", 1), Held("c:1", 1))))
    assert KillContainer("ta-o1", ANY) in actions
    assert core.end("ta-o1", ("c:0", 1), ("c:1", 1)) == []
    assert core.end("ta-t1", ("c:0", 1)) == [Accept(("c:0",)), sent("ta-t1", "c:1")]


def test_removed_settings_apply_to_what_is_there(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=3))
    for number in (1, 2, 3):
        core.feed(ContainerReady(f"ta-t{number}"))
    assert core.feed(FunctionAdded(FunctionSpec("f", "app", max_containers=1))) == [
        DrainContainer("ta-t1", ANY),
        DrainContainer("ta-t2", ANY),
    ]

"""What becomes of an input whose attempt failed?"""

from __future__ import annotations

from unittest.mock import ANY

import pytest

from modicum.server.core.actions import (
    Accept,
    Action,
    CancelInputs,
    Dispatch,
    FailInputs,
    Failure,
    KillContainer,
    Retry,
    RetryInputs,
    Send,
)
from modicum.server.core.events import (
    ContainerExited,
    ContainerReady,
    ExitReason,
    FunctionSpec,
    Held,
    InputsArrived,
    InputsCancelled,
    Output,
    OutputsArrived,
    Retries,
    Tick,
)
from modicum.testing.sim_driver import Driver

TWICE = Retries(2, coefficient=2.0, initial_delay_s=1.0, max_delay_s=1.5)


def spec(retries: Retries | None = TWICE, slots: int = 1, timeout_s: float = 20.0) -> FunctionSpec:
    return FunctionSpec("f", "app", max_containers=1, slots=slots, timeout_s=timeout_s, retries=retries)


def running(core: Driver, *keys: str, of: FunctionSpec | None = None, once: bool = False) -> None:
    """A container that runs the first of these inputs."""
    core.open(of or spec())
    core.feed(InputsArrived("f", keys, once=once))
    core.feed(ContainerReady("ta-t1"), at=1.0)


def failed(core: Driver, key: str, attempt: int, container: str = "ta-t1", at: float | None = None) -> list[Action]:
    return core.feed(OutputsArrived(container, (Output(key, attempt, False, 0.1),)), at)


def sent(container: str, *keys: str, attempt: int = 1) -> Send:
    return Send(container, tuple(Dispatch(key, attempt) for key in keys))


def again(key: str, failures: int, delay_s: float) -> RetryInputs:
    return RetryInputs((Retry(key, failures, delay_s),))


def test_a_failed_attempt_is_repeated_after_growing_pauses_up_to_the_longest(core: Driver) -> None:
    running(core, "c:0")
    assert failed(core, "c:0", 1, at=2.0) == [again("c:0", 1, 1.0)]
    assert core.wait(2.9) == []
    assert core.wait(3.0) == [sent("ta-t1", "c:0", attempt=2)]
    assert failed(core, "c:0", 2, at=4.0) == [again("c:0", 2, 1.5)]  # and not 2.0
    assert core.wait(5.5) == [sent("ta-t1", "c:0", attempt=3)]
    assert failed(core, "c:0", 3) == [Accept(("c:0",))]


def test_without_retries_a_failure_is_final(core: Driver) -> None:
    running(core, "c:0", of=spec(None))
    assert failed(core, "c:0", 1) == [Accept(("c:0",))]


def test_failures_before_a_restart_count(core: Driver) -> None:
    core.open(spec())
    core.feed(InputsArrived("f", ("c:0", "c:1"), failures=(2, 0)))
    core.feed(ContainerReady("ta-t1"))
    assert failed(core, "c:0", 1) == [Accept(("c:0",)), sent("ta-t1", "c:1")]
    assert failed(core, "c:1", 1) == [again("c:1", 1, 1.0)]


def test_what_runs_once_is_not_repeated(core: Driver) -> None:
    running(core, "c:0", once=True)
    assert failed(core, "c:0", 1) == [Accept(("c:0",))]


def test_others_run_during_the_pause_and_it_keeps_its_place(core: Driver) -> None:
    running(core, "c:0", "c:1", "c:2", "c:3")
    assert failed(core, "c:0", 1, at=2.0) == [again("c:0", 1, 1.0), sent("ta-t1", "c:1")]
    core.wait(3.5)
    assert core.end("ta-t1", ("c:1", 1)) == [Accept(("c:1",)), sent("ta-t1", "c:0", attempt=2)]


def test_without_a_pause_it_runs_again_at_once(core: Driver) -> None:
    running(core, "c:0", "c:1", of=spec(Retries(1, initial_delay_s=0.0)))
    assert failed(core, "c:0", 1) == [again("c:0", 1, 0.0), sent("ta-t1", "c:0", attempt=2)]


def test_an_input_in_its_pause_can_be_cancelled(core: Driver) -> None:
    running(core, "c:0")
    failed(core, "c:0", 1)
    assert core.state.queued("f") == 1
    assert core.state.why_waiting("f") == "an attempt failed, and the next one comes after a pause"
    assert core.feed(InputsCancelled("f", ("c:0",))) == []
    assert core.state.queued("f") == 0
    assert core.wait(core.now + 10.0) == []


def test_a_pause_keeps_no_container(core: Driver) -> None:
    running(core, "c:0", of=FunctionSpec("f", "app", scaledown_window_s=5.0, retries=Retries(1, initial_delay_s=9.0)))
    failed(core, "c:0", 1, at=2.0)
    assert "Drain" in str(core.wait(7.0))
    core.feed(ContainerExited("ta-t1", ExitReason.FINISHED, ""))
    assert core.wait(10.9) == []
    assert "Start" in str(core.wait(11.0))


def test_a_timeout_is_a_failed_attempt_and_its_neighbours_are_not_charged(core: Driver) -> None:
    running(core, "c:0", of=spec(slots=3))
    core.feed(InputsArrived("f", ("c:1", "c:2")), at=2.0)
    assert core.wait(21.0) == [again("c:0", 1, 1.0), KillContainer("ta-t1", ANY)]
    core.feed(ContainerExited("ta-t1", ExitReason.KILLED, ""))
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:1", "c:2", attempt=2)]
    assert core.wait(22.0) == [sent("ta-t2", "c:0", attempt=2)]
    assert failed(core, "c:1", 2, "ta-t2") == [again("c:1", 1, 1.0)]  # its first


def test_after_its_last_retry_a_timeout_is_final(core: Driver) -> None:
    running(core, "c:0", of=spec(Retries(1, initial_delay_s=0.0)))
    core.wait(21.0)
    core.feed(ContainerExited("ta-t1", ExitReason.KILLED, ""))
    core.feed(ContainerReady("ta-t2"))
    assert core.wait(41.0) == [FailInputs(("c:0",), Failure.TIMEOUT, ANY), KillContainer("ta-t2", ANY)]


def test_an_input_that_needs_too_much_memory_is_charged_under_its_retries(core: Driver) -> None:
    running(core, "c:0", of=spec(Retries(1, initial_delay_s=0.0)))
    [retried, *_] = core.feed(ContainerExited("ta-t1", ExitReason.OOM, "it ran out of memory"))
    assert retried == again("c:0", 1, 0.0)
    core.feed(ContainerReady("ta-t2"))
    [ended, *_] = core.feed(ContainerExited("ta-t2", ExitReason.OOM, "it ran out of memory"))
    assert ended == FailInputs(("c:0",), Failure.OOM, ANY)


def test_without_retries_an_input_that_needs_too_much_memory_fails(core: Driver) -> None:
    running(core, "c:0", of=spec(None))
    [ended, *_] = core.feed(ContainerExited("ta-t1", ExitReason.OOM, "it ran out of memory"))
    assert ended == FailInputs(("c:0",), Failure.OOM, ANY)
    assert isinstance(ended, FailInputs)
    assert ended.message == "its container ta-t1 ended under it (oom: it ran out of memory)"


def test_of_several_nobody_knows_whose_memory_it_was(core: Driver) -> None:
    running(core, "c:0", "c:1", of=spec(None, slots=2))
    assert "FailInputs" not in str(core.feed(ContainerExited("ta-t1", ExitReason.OOM, "")))
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:0", "c:1", attempt=2)]


def test_inputs_that_keep_crashing_together_run_alone(core: Driver) -> None:
    """So that the guilty one does not take its neighbours with it."""
    running(core, "c:0", "c:1", "c:2", of=spec(None, slots=3))
    core.feed(ContainerExited("ta-t1", ExitReason.CRASHED, ""))
    core.feed(ContainerReady("ta-t2"))  # all three again
    core.feed(ContainerExited("ta-t2", ExitReason.CRASHED, ""))
    core.wait(core.now + 1.0)
    assert core.feed(ContainerReady("ta-t3")) == [sent("ta-t3", "c:0", attempt=3)]
    assert core.end("ta-t3", ("c:0", 3)) == [Accept(("c:0",)), sent("ta-t3", "c:1", attempt=3)]
    core.feed(ContainerExited("ta-t3", ExitReason.CRASHED, ""))
    core.wait(core.now + 1.0)
    assert core.feed(ContainerReady("ta-t4")) == [sent("ta-t4", "c:1", attempt=4)]
    [ended, *_] = core.feed(ContainerExited("ta-t4", ExitReason.CRASHED, ""))
    assert ended == FailInputs(("c:1",), Failure.CRASHED, ANY)
    core.wait(core.now + 10.0)
    core.feed(InputsArrived("f", ("d:0",)))
    assert core.feed(ContainerReady("ta-t5")) == [sent("ta-t5", "c:2", attempt=3)]
    [_, send] = core.end("ta-t5", ("c:2", 3))
    assert send == sent("ta-t5", "d:0")
    core.feed(InputsArrived("f", ("d:1",)))
    assert core.state.stats("f").running == 2  # together again


def test_an_output_that_was_taken_in_is_not_taken_in_again(core: Driver) -> None:
    """Its agent had not heard that it was, and lost its connection: it names it as held, and sends it again."""
    running(core, "c:0")
    failed(core, "c:0", 1, at=2.0)
    assert core.feed(ContainerReady("ta-t1", (Held("c:0", 1),))) == []
    assert failed(core, "c:0", 1) == []
    assert core.wait(3.0) == [sent("ta-t1", "c:0", attempt=2)]
    assert core.feed(ContainerReady("ta-t1", (Held("c:0", 1),))) == [sent("ta-t1", "c:0", attempt=3)]  # 2 got lost


def test_a_container_is_not_ended_for_a_failed_attempt_that_runs_elsewhere_now(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", min_containers=2, max_containers=2, retries=TWICE))
    core.feed(ContainerReady("ta-t1"))
    core.feed(InputsArrived("f", ("c:0",)))
    core.feed(ContainerReady("ta-t2"), at=1.0)
    core.feed(InputsArrived("f", ("c:1", "c:2")))
    assert failed(core, "c:0", 1, at=2.0) == [again("c:0", 1, 1.0), sent("ta-t1", "c:2")]
    core.end("ta-t2", ("c:1", 1))
    assert core.wait(3.0) == [sent("ta-t2", "c:0", attempt=2)]
    assert core.feed(ContainerReady("ta-t1", (Held("c:0", 1), Held("c:2", 1)))) == []
    assert core.state.stats("f").running == 2


@pytest.mark.parametrize("is_again", [False, True])
def test_what_was_cancelled_has_thirty_seconds_to_end(core: Driver, is_again: bool) -> None:
    running(core, "c:0", of=spec(slots=2, timeout_s=300.0))
    core.feed(InputsArrived("f", ("c:1",)))
    assert core.feed(InputsCancelled("f", ("c:0",)), at=5.0) == [CancelInputs("ta-t1", ("c:0",))]
    if is_again:
        core.feed(InputsArrived("f", ("c:0",)))
    assert core.wait(34.9) == []
    assert core.feed(Tick(), at=35.0) == [KillContainer("ta-t1", "what it ran was cancelled and did not end")]
    core.feed(ContainerExited("ta-t1", ExitReason.KILLED, ""))
    again = ("c:0", "c:1") if is_again else ("c:1",)
    [send] = core.feed(ContainerReady("ta-t2"))
    assert isinstance(send, Send)
    assert {each.key for each in send.inputs} == set(again)


def test_what_ended_after_it_was_cancelled_ends_no_container(core: Driver) -> None:
    running(core, "c:0", of=spec(slots=2, timeout_s=300.0))
    core.feed(InputsArrived("f", ("c:1",)))
    core.feed(InputsCancelled("f", ("c:0",)), at=5.0)
    assert core.end("ta-t1", ("c:0", 1), at=6.0) == []
    core.feed(InputsCancelled("f", ("c:1",)), at=20.0)
    assert core.wait(49.9) == []
    assert core.wait(50.0) == [KillContainer("ta-t1", ANY)]

"""Which input goes where, and when?"""

from __future__ import annotations

from unittest.mock import ANY

from modicum.server.core.actions import (
    Accept,
    CancelInputs,
    Dispatch,
    FailInputs,
    Failure,
    Send,
    StartContainer,
    TakeBack,
)
from modicum.server.core.events import (
    ContainerReady,
    FunctionAdded,
    FunctionSpec,
    InputsArrived,
    InputsCancelled,
    InputsTakenBack,
    NodeJoined,
    Output,
    OutputsArrived,
    Recovered,
    Tick,
)
from modicum.testing.sim_driver import Driver, Play

F = FunctionSpec("f", "app", scaledown_window_s=10.0)


def two_ready(core: Driver, max_containers: int | None = 2) -> None:
    """Two idle containers, ta-t1 the longer, and no history."""
    core.open(FunctionSpec("f", "app", min_containers=2, max_containers=max_containers, scaledown_window_s=10.0))
    core.feed(ContainerReady("ta-t1"), at=0.1)
    core.feed(ContainerReady("ta-t2"), at=0.1)


def measured(core: Driver, run_s: float) -> None:
    """Two idle containers of a function of which eight runs are known."""
    two_ready(core)
    for number in range(8):
        [send] = core.feed(InputsArrived("f", (f"w:{number}",)))
        assert isinstance(send, Send)
        core.end(send.container, (f"w:{number}", 1), run_s=run_s)


def sent(container: str, *keys: str, attempt: int = 1) -> Send:
    return Send(container, tuple(Dispatch(key, attempt) for key in keys))


def test_the_first_input_starts_a_container_which_gets_it_when_ready(core: Driver) -> None:
    core.open(F)
    assert core.feed(InputsArrived("f", ("c:0",))) == [StartContainer("ta-t1", "f", "n", ANY)]
    assert core.feed(ContainerReady("ta-t1"), at=0.05) == [sent("ta-t1", "c:0")]
    assert core.end("ta-t1", ("c:0", 1), at=0.1) == [Accept(("c:0",))]


def test_nothing_happens_before_the_nodes_have_reported(core: Driver) -> None:
    assert core.feed(NodeJoined("n", 2, 1024)) == []
    assert core.feed(FunctionAdded(F)) == []
    assert core.feed(InputsArrived("f", ("c:0",))) == []
    assert core.state.next_deadline() is None
    assert core.feed(Tick(), at=400.0) == []
    assert core.feed(Recovered()) == [StartContainer("ta-t1", "f", "n", ANY)]


def test_inputs_run_in_the_order_of_their_arrival(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", max_containers=1))
    core.feed(InputsArrived("f", ("a:0", "a:1")))
    core.feed(InputsArrived("f", ("b:0",)))
    assert core.feed(ContainerReady("ta-t1")) == [sent("ta-t1", "a:0")]
    assert core.end("ta-t1", ("a:0", 1)) == [Accept(("a:0",)), sent("ta-t1", "a:1")]
    assert core.end("ta-t1", ("a:1", 1)) == [Accept(("a:1",)), sent("ta-t1", "b:0")]


def test_known_keys_are_not_run_twice(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", max_containers=1))
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    core.feed(ContainerReady("ta-t1"))
    assert core.feed(InputsArrived("f", ("c:0", "c:1"))) == []
    assert core.end("ta-t1", ("c:0", 1)) == [Accept(("c:0",)), sent("ta-t1", "c:1")]
    assert core.end("ta-t1", ("c:1", 1)) == [Accept(("c:1",))]


def test_inputs_of_a_removed_function_fail(core: Driver) -> None:
    core.open()
    assert core.feed(InputsArrived("f", ("c:0",))) == [FailInputs(("c:0",), Failure.CANCELLED, "its app has ended")]


def test_an_input_goes_to_the_container_that_was_busy_last(core: Driver) -> None:
    """So that the others may idle out."""
    two_ready(core)
    assert core.feed(InputsArrived("f", ("c:0",))) == [sent("ta-t2", "c:0")]
    core.end("ta-t2", ("c:0", 1), at=0.2)
    assert core.feed(InputsArrived("f", ("c:1",))) == [sent("ta-t2", "c:1")]


def test_no_input_waits_inside_a_container_before_eight_runs_are_measured(core: Driver) -> None:
    two_ready(core)
    actions = core.feed(InputsArrived("f", tuple(f"c:{number}" for number in range(12))))
    runs = {action.container: action.inputs[0].key for action in actions if isinstance(action, Send)}
    for number in range(2, 9):  # seven runs
        [_, send] = core.end("ta-t1", (runs["ta-t1"], 1), run_s=0.0001)
        assert send == sent("ta-t1", f"c:{number}")
        runs["ta-t1"] = f"c:{number}"
    actions = core.end("ta-t2", (runs["ta-t2"], 1), run_s=0.0001)  # the eighth; 9, 10 and 11 wait, one runs in t1
    assert actions == [ANY, sent("ta-t2", "c:9", "c:10"), sent("ta-t1", "c:11")]


def test_short_inputs_are_poured_evenly_over_all_containers(core: Driver) -> None:
    measured(core, 0.0001)  # 5 ms / 0.1 ms = 50
    actions = core.feed(InputsArrived("f", tuple(f"c:{number}" for number in range(10))))
    assert [len(action.inputs) for action in actions if isinstance(action, Send)] == [5, 5]


def test_the_window_holds_five_milliseconds_of_work(core: Driver) -> None:
    measured(core, 0.001)  # 5 ms / 1 ms = 5: one runs, four wait
    actions = core.feed(InputsArrived("f", tuple(f"c:{number}" for number in range(100))))
    assert [len(action.inputs) for action in actions if isinstance(action, Send)] == [5, 5]


def test_the_window_is_64_at_most(core: Driver) -> None:
    measured(core, 0.000001)
    actions = core.feed(InputsArrived("f", tuple(f"c:{number}" for number in range(200))))
    assert [len(action.inputs) for action in actions if isinstance(action, Send)] == [64, 64]


def test_a_full_container_gets_more_when_half_its_window_is_free(core: Driver) -> None:
    measured(core, 0.001)  # one runs, four wait
    actions = core.feed(InputsArrived("f", tuple(f"c:{number}" for number in range(100))))
    [mine] = [action.inputs for action in actions if isinstance(action, Send) and action.container == "ta-t1"]
    assert core.end("ta-t1", (mine[0].key, 1), run_s=0.001) == [Accept((mine[0].key,))]
    assert core.end("ta-t1", (mine[1].key, 1), run_s=0.001) == [Accept((mine[1].key,))]
    [_, send] = core.end("ta-t1", (mine[2].key, 1), run_s=0.001)
    assert isinstance(send, Send)
    assert len(send.inputs) == 3


def test_inputs_longer_than_five_milliseconds_wait_in_the_queue(core: Driver) -> None:
    measured(core, 0.006)
    actions = core.feed(InputsArrived("f", tuple(f"c:{number}" for number in range(9))))
    assert [len(action.inputs) for action in actions if isinstance(action, Send)] == [1, 1]


def test_the_emptiest_is_filled_first(core: Driver) -> None:
    measured(core, 0.0001)
    core.feed(InputsArrived("f", tuple(f"a:{number}" for number in range(20))))  # 10 each
    core.end("ta-t1", *((f"a:{number}", 1) for number in range(8)), run_s=0.0001)  # 2 and 10
    [first, *others] = core.feed(InputsArrived("f", tuple(f"b:{number}" for number in range(8))))
    assert isinstance(first, Send)
    assert (first.container, len(first.inputs), others) == ("ta-t1", 8, [])  # 2 + 8 = 10


def test_outputs_of_another_attempt_change_nothing(core: Driver) -> None:
    two_ready(core)
    core.feed(InputsArrived("f", ("c:0",)))
    assert core.feed(ContainerReady("ta-t2")) == [sent("ta-t2", "c:0", attempt=2)]  # it got lost on the way
    assert core.end("ta-t2", ("c:0", 1)) == []
    assert core.end("ta-t1", ("c:0", 2)) == []
    assert core.end("ta-t2", ("c:0", 2)) == [Accept(("c:0",))]
    assert core.end("ta-t2", ("c:0", 2)) == []


def ten_poured(core: Driver, run_s: float) -> None:
    """Five inputs in each of two containers, of which then the first has ended all."""
    measured(core, run_s)
    core.feed(InputsArrived("f", tuple(f"c:{number}" for number in range(10))))


def test_half_of_what_waits_is_taken_back_when_another_idles(core: Driver) -> None:
    ten_poured(core, 0.001)
    actions = core.end("ta-t1", *((f"c:{number}", 1) for number in range(5)), run_s=0.001)
    assert actions == [
        Accept(tuple(f"c:{number}" for number in range(5))),
        TakeBack("ta-t2", 2),
    ]  # c:6 to c:9 wait in t2
    assert core.feed(InputsTakenBack("ta-t2", ("c:9", "c:8"))) == [sent("ta-t1", "c:8", "c:9", attempt=2)]
    assert core.end("ta-t1", ("c:8", 2), ("c:9", 2), run_s=0.001) == [Accept(("c:8", "c:9")), TakeBack("ta-t2", 1)]


def test_work_of_less_than_a_millisecond_is_left_where_it_is(core: Driver) -> None:
    ten_poured(core, 0.0001)  # 4 × 0.1 ms wait
    assert core.end("ta-t1", *((f"c:{number}", 1) for number in range(5)), run_s=0.0001) == [ANY]


def test_a_refused_request_is_not_repeated_before_the_next_output(core: Driver) -> None:
    ten_poured(core, 0.001)
    core.end("ta-t1", *((f"c:{number}", 1) for number in range(5)), run_s=0.001)
    assert core.feed(InputsTakenBack("ta-t2", ())) == []
    assert core.feed(Tick()) == []
    assert core.end("ta-t2", ("c:5", 1), run_s=0.001) == [Accept(("c:5",)), TakeBack("ta-t2", 2)]


def test_all_that_waits_behind_a_slow_input_is_taken_back(core: Driver) -> None:
    ten_poured(core, 0.0001)
    core.end("ta-t1", ("c:0", 1), ("c:1", 1), ("c:2", 1), run_s=0.0001, at=0.13)
    assert core.wait(0.151) == [TakeBack("ta-t2", 4)]
    assert core.feed(InputsTakenBack("ta-t2", ("c:9", "c:8", "c:7", "c:6"))) == [
        sent("ta-t1", "c:6", "c:7", "c:8", "c:9", attempt=2)
    ]


def test_an_input_is_slow_once_it_has_run_for_fifty_milliseconds(core: Driver) -> None:
    ten_poured(core, 0.0001)
    assert core.wait(0.1499) == []
    assert core.wait(0.1501) == [TakeBack("ta-t1", 4), TakeBack("ta-t2", 4)]


def test_nothing_is_sent_behind_a_slow_input(core: Driver) -> None:
    measured(core, 0.0001)
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    assert core.feed(InputsArrived("f", ("c:2",)), at=0.2) == []
    assert core.end("ta-t1", ("c:1", 1), at=0.3) == [Accept(("c:1",)), sent("ta-t1", "c:2")]
    assert core.feed(InputsArrived("f", ("c:3", "c:4", "c:5")), at=0.3) == [sent("ta-t1", "c:3", "c:4", "c:5")]


def test_a_cancelled_input_vanishes_from_the_queue(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", max_containers=1))
    core.feed(InputsArrived("f", ("c:0", "c:1", "c:2")))
    core.feed(ContainerReady("ta-t1"))
    assert core.feed(InputsCancelled("f", ("c:1",))) == []
    assert core.end("ta-t1", ("c:0", 1)) == [Accept(("c:0",)), sent("ta-t1", "c:2")]


def test_a_cancelled_input_that_runs_keeps_its_slot_until_it_ends(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", max_containers=1))
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    core.feed(ContainerReady("ta-t1"))
    assert core.feed(InputsCancelled("f", ("c:0",))) == [CancelInputs("ta-t1", ("c:0",))]
    assert core.feed(InputsCancelled("f", ("c:0", "unknown"))) == []
    assert core.end("ta-t1", ("c:0", 1)) == [sent("ta-t1", "c:1")]


def test_an_input_cancelled_and_asked_for_again_runs_again(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", max_containers=1))
    core.feed(InputsArrived("f", ("c:0",)))
    core.feed(ContainerReady("ta-t1"))
    core.feed(InputsCancelled("f", ("c:0",)))
    assert core.feed(InputsArrived("f", ("c:0",))) == []
    assert core.end("ta-t1", ("c:0", 1)) == [sent("ta-t1", "c:0", attempt=2)]


def test_slots_run_side_by_side(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", slots=3, max_containers=1, timeout_s=5.0))
    core.feed(InputsArrived("f", tuple(f"c:{number}" for number in range(5))))
    assert core.feed(ContainerReady("ta-t1")) == [sent("ta-t1", "c:0", "c:1", "c:2")]
    assert core.end("ta-t1", ("c:1", 1)) == [Accept(("c:1",)), sent("ta-t1", "c:3")]


def test_one_slow_input_does_not_hold_up_a_map(core: Driver) -> None:
    """[5 s] + 200 × 10 ms on two containers: 5 s and one cold start, whatever was known before."""
    core.open(FunctionSpec("f", "app", max_containers=2))
    play = Play(core, lambda key: 5.0 if key == "c:0" else 0.01)
    play.run(InputsArrived("f", tuple(f"c:{number}" for number in range(201))), until=30.0)
    assert len(play.ended) == 201
    assert max(play.ended.values()) < 5.1
    assert max(at for key, at in play.ended.items() if key != "c:0") < 2.5


def test_one_slow_input_among_pipelined_ones_does_not_hold_up_a_map(core: Driver) -> None:
    """The same after a history of 1 ms runs, when 5 of them go out at once."""
    core.open(FunctionSpec("f", "app", max_containers=2))
    play = Play(core, lambda key: 5.0 if key == "c:50" else 0.001)
    play.run(InputsArrived("f", tuple(f"c:{number}" for number in range(400))), until=30.0)
    assert len(play.ended) == 400
    assert max(at for key, at in play.ended.items() if key != "c:50") < 0.7
    assert any(isinstance(action, TakeBack) for _, action in play.actions)


def test_a_thousand_calls_keep_two_containers_busy(core: Driver) -> None:
    play = Play(core, lambda key: 0.01)
    play.follow(core.open(FunctionSpec("f", "app", min_containers=2, max_containers=2)))
    play.run(InputsArrived("f", tuple(f"c:{number}" for number in range(1000))), until=30.0)
    assert max(play.ended.values()) < 5.06  # 0.05 + 1000 × 0.01 / 2


def test_outputs_of_unknown_containers_change_nothing(core: Driver) -> None:
    core.open(F)
    assert core.feed(OutputsArrived("ta-x", (Output("c:0", 1, True, 0.1),))) == []
    assert core.feed(ContainerReady("ta-x")) == []
    assert core.feed(InputsTakenBack("ta-x", ("c:0",))) == []

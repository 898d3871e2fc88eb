"""How long may a function take that speaks with its user? As long as he likes: its clocks stand still."""

from __future__ import annotations

import pytest

from modicum.server.core.actions import CancelInputs, KillContainer
from modicum.server.core.events import (
    ContainerReady,
    FunctionSpec,
    InputsArrived,
    InputsCancelled,
    InteractionChanged,
    Tick,
)
from modicum.testing.sim_driver import Driver

BOX = "ta-t1"
ONE = FunctionSpec("f", "app", max_containers=1, timeout_s=20.0, startup_timeout_s=30.0)
LATE = KillContainer(BOX, "an input ran longer than its timeout of 20 s")


def begin(core: Driver, at: float) -> None:
    core.feed(InteractionChanged(BOX, True), at=at)


def end(core: Driver, at: float) -> None:
    assert not core.feed(InteractionChanged(BOX, False), at=at)


@pytest.fixture
def running(core: Driver) -> Driver:
    """A core with a container that has run an input since second 1."""
    core.open(ONE)
    core.feed(InputsArrived("f", ("a:0",)))
    core.feed(ContainerReady(BOX), at=1.0)
    return core


def test_its_timeout_counts_what_it_ran_by_itself(running: Driver) -> None:
    begin(running, at=11.0)
    assert not running.feed(Tick(), at=1000.0)
    end(running, at=1001.0)
    assert not running.feed(Tick(), at=1010.5)  # 1 + 20 + 990 = 1011
    assert LATE in running.feed(Tick(), at=1011.0)


def test_one_that_is_said_to_begin_or_end_twice(running: Driver) -> None:
    end(running, at=2.0)
    begin(running, at=11.0)
    begin(running, at=500.0)
    end(running, at=1001.0)
    end(running, at=1005.0)
    assert not running.feed(Tick(), at=1010.5)
    assert LATE in running.feed(Tick(), at=1011.0)


def test_an_input_that_began_meanwhile_has_all_of_its_time(core: Driver) -> None:
    core.open(FunctionSpec("f", "app", max_containers=1, timeout_s=20.0, slots=2))
    core.feed(InputsArrived("f", ("a:0",)))
    core.feed(ContainerReady(BOX), at=1.0)
    begin(core, at=11.0)
    core.feed(InputsArrived("f", ("b:0",)), at=30.0)
    core.end(BOX, ("a:0", 1), run_s=29.0)
    end(core, at=100.0)
    assert not core.feed(Tick(), at=119.5)
    assert LATE in core.feed(Tick(), at=120.0)


def test_the_time_to_start_stands_still_as_well(core: Driver) -> None:
    core.open(ONE)
    core.feed(InputsArrived("f", ("a:0",)))
    core.feed(ContainerReady(BOX, loaded=False), at=1.0)
    begin(core, at=2.0)
    assert not core.feed(Tick(), at=100.0)
    end(core, at=102.0)
    assert not core.feed(Tick(), at=129.5)
    assert any(isinstance(action, KillContainer) for action in core.feed(Tick(), at=130.0))


def test_what_is_cancelled_ends_in_spite_of_it(running: Driver) -> None:
    begin(running, at=11.0)
    assert CancelInputs(BOX, ("a:0",)) in running.feed(InputsCancelled("f", ("a:0",)), at=12.0)
    assert not running.feed(Tick(), at=41.5)
    assert KillContainer(BOX, "what it ran was cancelled and did not end") in running.feed(Tick(), at=42.0)
    assert not running.feed(InteractionChanged(BOX, False), at=43.0)

"""Does the core keep its promises in a hundred and forty worlds?"""

from __future__ import annotations

from collections import Counter

import pytest

from modicum.testing.simulation import simulate

pytestmark = pytest.mark.sim

SEEDS = 140
GROUP = 20


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_every_input_ends_exactly_once_whatever_happens(first: int) -> None:
    for seed in range(first, first + GROUP):
        simulate(seed)


def test_the_worlds_are_eventful() -> None:
    """A simulation in which nothing goes wrong proves nothing."""
    ended: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    restarts = 0
    for seed in range(SEEDS, SEEDS + 30):
        outcome = simulate(seed)
        ended += outcome.ended
        actions += outcome.actions
        restarts += outcome.restarts
    assert restarts > 5
    for how in ("accepted", "timeout", "crashed", "start failed", "out of memory", "cancelled"):
        assert ended[how] >= 3, ended
    for what in ("DrainContainer", "StopContainer", "KillContainer", "TakeBack", "CancelInputs"):
        assert actions[what] > 0, actions
    for what in ("RetryInputs", "LoadInputs"):
        assert actions[what] > 50, actions


def test_a_seed_makes_one_world() -> None:
    assert simulate(7) == simulate(7)

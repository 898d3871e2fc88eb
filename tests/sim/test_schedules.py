"""A year of schedules on virtual time: servers are killed and stay away, clocks change, apps are deployed anew.

The world is what the shell is to the agenda: a store that keeps what was committed, and runs that take their time. A
due time is covered by the first dealing with it that was committed; each must be, and only once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from modicum.server.core.schedule import LATE_S, Agenda, DueTimes, Entry, Policy, Verdict, decide
from modicum.server.due_times import read

DAY_S = 86_400.0
START = 1_767_225_600.0  # 1 January 2026
SCHEDULES: list[dict[str, Any]] = [
    {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
    {"cron": "0 */6 * * *", "timezone": "America/New_York"},
    {"cron": "0 9 * * 1-5", "timezone": "UTC"},
    {"period": {"hours": 7}},
    {"period": {"days": 1}},
]


class Killed(Exception):
    """The server was killed."""


@dataclass
class World:
    """What there is beside a server, of one schedule."""

    times: DueTimes
    chance: random.Random
    policy: Policy
    run_s: float
    now: float = START
    since: float = START
    marked: float = START
    dealt: list[tuple[float, float, float, Verdict]] = field(
        default_factory=list
    )  # after, up to, due, what became of it
    open_until: float = 0.0

    def serve(self, until: float) -> None:
        """A server begins, and works until it is killed or the time is over."""
        agenda = Agenda()
        agenda.put(Entry("f", self.times, self.since, self.marked), self.now)
        while True:
            for entry in agenda.due(self.now):
                verdict = decide(entry, self.now, self.open_until > self.now, self.policy)
                if verdict is Verdict.WAITS:
                    agenda.again(entry, self.now + 300)
                    continue
                if self.chance.random() < 0.02:
                    raise Killed  # before the commit: nothing of it is there
                self.commit(entry, verdict)
                if self.chance.random() < 0.02:
                    raise Killed  # after it: the next server finds the mark
                agenda.done(entry, self.now)
            following = agenda.next()
            assert following is not None
            self.now = max(self.now, following)
            if self.now > until:
                self.now = until
                return

    def commit(self, entry: Entry, verdict: Verdict) -> None:
        assert entry.due is not None and self.marked < entry.due <= self.now, "the store refuses what is dealt with"
        self.dealt.append((self.marked, self.now, entry.due, verdict))
        self.marked = self.now
        if verdict is Verdict.RUN:
            self.open_until = self.now + self.run_s * self.chance.random()


def simulate(schedule: dict[str, Any], seed: int, policy: Policy, run_s: float, days: int = 365) -> World:
    chance = random.Random(seed)
    world = World(read(schedule, "Europe/Berlin"), chance, policy, run_s)
    end = START + days * DAY_S
    while world.now < end:
        try:
            world.serve(min(world.now + chance.random() * 20 * DAY_S, end))
            if "period" in schedule and chance.random() < 0.3:  # deployed anew
                world.since = world.marked = world.now
                continue
        except Killed:
            pass
        world.now += chance.choice([0.5, 5.0, 3600.0, 3 * DAY_S]) * chance.random()
    return world


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_each_due_time_of_a_year_is_dealt_with_once(schedule: dict[str, Any], seed: int) -> None:
    world = simulate(schedule, seed, Policy(overlap=True), run_s=0.0)
    assert len(world.dealt) > 100
    for (_, before, _, _), (after, upto, due, verdict) in zip(world.dealt, world.dealt[1:]):
        assert before <= after < due <= upto, "what one has dealt with no other does"
        assert verdict is Verdict.RUN, "and whatever has passed is made up for, by one run"


@pytest.mark.parametrize("schedule", SCHEDULES[:3], ids=str)
def test_no_due_time_of_a_cron_is_forgotten(schedule: dict[str, Any]) -> None:
    world = simulate(schedule, 7, Policy(), run_s=0.0)
    moment, number = START, 0
    while (due := world.times.after(START, moment)) is not None and due <= world.dealt[-1][1]:
        while world.dealt[number][1] < due:
            number += 1
        after, _, first, _ = world.dealt[number]
        assert after < first <= due, f"{due} was not dealt with"
        moment = due


@pytest.mark.parametrize("seed", range(3))
def test_runs_do_not_overlap_and_none_is_lost_for_long(seed: int) -> None:
    world = simulate(SCHEDULES[3], seed, Policy(), run_s=20 * 3600.0)
    ran = [(upto, due) for _, upto, due, verdict in world.dealt if verdict is Verdict.RUN]
    skipped = [each for each in world.dealt if each[3] is Verdict.SKIPPED]
    assert len(ran) > 100 and len(skipped) > 100
    assert all(upto - due <= LATE_S for _, upto, due, _ in skipped), "what was missed is not skipped, it waits"


def test_without_catching_up_nothing_runs_late() -> None:
    world = simulate(SCHEDULES[1], 5, Policy(catch_up=False), run_s=0.0)
    late = [(verdict, upto - due > LATE_S) for _, upto, due, verdict in world.dealt]
    assert {(Verdict.RUN, False), (Verdict.MISSED, True)} == set(late)

"""Which functions are due, and what becomes of it?"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from modicum.server.core.schedule import LATE_S, Agenda, Entry, Policy, Verdict, decide


@dataclass
class Every:
    """Due at each multiple of so many seconds, or counted from its beginning."""

    step: float = 10.0
    from_start: bool = False
    back_s: float = 60.0

    def after(self, since: float, moment: float) -> float | None:
        start = since if self.from_start else 0.0
        return start + ((moment - start) // self.step + 1) * self.step


def entry(function: str = "f", marked: float = 100.0, times: Every | None = None) -> Entry:
    return Entry(function, times or Every(), since=marked, marked=marked)


def agenda(*entries: Entry, now: float = 100.0) -> Agenda:
    made = Agenda()
    for each in entries:
        made.put(each, now)
    return made


def test_each_due_time_comes_once() -> None:
    one = entry()
    made = agenda(one)
    assert (made.next(), made.due(109.9)) == (110.0, [])
    assert made.due(110.0) == [one]
    assert made.due(110.0) == [], "it is being dealt with"
    made.done(one, 110.0)
    assert (one.due, made.next()) == (120.0, 120.0)


def test_all_that_has_passed_is_dealt_with_together() -> None:
    one = entry()
    made = agenda(one)
    assert (made.due(1000.0), one.due) == ([one], 110.0)
    made.done(one, 1000.0)
    assert made.next() == 1010.0


def test_what_failed_is_looked_at_again_and_what_was_done_is_not_run_early() -> None:
    failed, done = entry("failed"), entry("done")
    made = agenda(failed, done)
    assert set(map(id, made.due(110.0))) == {id(failed), id(done)}
    made.done(done, 110.0)
    for each in (failed, done):  # the store failed for one of them: both are looked at again
        made.again(each, 111.0)
    assert made.due(110.5) == []
    assert made.due(111.0) == [failed]
    assert made.due(120.0) == [done]


def test_another_schedule_takes_the_place_of_one_that_is_being_dealt_with() -> None:
    old, new = entry(), entry(times=Every(7.0))
    made = agenda(old)
    assert made.due(110.0) == [old]
    made.put(new, 110.0)
    made.done(old, 110.0)
    made.again(old, 110.0)
    assert made.next() == new.due == 105.0
    made.remove("f")
    made.remove("f")
    assert made.next() is None


def test_a_clock_that_goes_back_a_little_repeats_nothing() -> None:
    one = entry()
    made = agenda(one)
    made.due(110.0)
    made.done(one, 110.0)
    assert made.due(80.0) == [] and made.due(110.0) == []
    assert made.due(120.0) == [one]


@pytest.mark.parametrize("from_start", [False, True])
def test_a_clock_that_goes_back_far_is_believed(from_start: bool) -> None:
    one = entry(marked=1_000_000.0, times=Every(10.0, from_start))
    made = agenda(one, now=1_000_000.0)
    made.due(1_000_010.0)
    made.done(one, 1_000_010.0)
    assert made.due(505.0) == []
    assert one.due == (515.0 if from_start else 510.0)
    late = entry(marked=1e6)
    assert agenda(late, now=505.0).next() == 510.0, "a server that begins with a clock set right"


@pytest.mark.parametrize(
    ("late_s", "is_open", "policy", "expected"),
    [
        (0, False, Policy(), Verdict.RUN),
        (0, True, Policy(), Verdict.SKIPPED),
        (0, True, Policy(overlap=True), Verdict.RUN),
        (LATE_S + 1, False, Policy(), Verdict.RUN),
        (LATE_S + 1, True, Policy(), Verdict.WAITS),
        (LATE_S + 1, True, Policy(overlap=True), Verdict.RUN),
        (LATE_S + 1, False, Policy(catch_up=False), Verdict.MISSED),
        (LATE_S - 1, False, Policy(catch_up=False), Verdict.RUN),  # a server was replaced meanwhile: that is no absence
    ],
)
def test_verdicts(late_s: float, is_open: bool, policy: Policy, expected: Verdict) -> None:
    one = entry()
    agenda(one)
    assert one.due is not None
    assert decide(one, one.due + late_s, is_open, policy) is expected

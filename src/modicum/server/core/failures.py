"""Who is to blame when a container or an attempt fails, and what follows for him?

An attempt that failed is repeated if its function has retries left for it. A crash is nobody's fault at first: what ran
runs again, three times. Starts that fail, and containers that crash, one after the other, are followed by longer and
longer pauses.
"""

from __future__ import annotations

from itertools import islice

from .actions import FailInputs, Failure, RetryInputs
from .events import ExitReason
from .pool import Pool
from .records import Claim, Container, Input, Turn

CRASHES_MAX = 3
"""How often an input whose container died under it is run again without its caller hearing of it."""

ALONE_FROM = 2
"""An input that has seen so many crashes runs alone from then on, so that the next one shows whose fault they are."""

START_FAILURES_MAX = 3
"""Starts that fail in a row before those who wait are told."""

BACK_OFF_S = 0.1
"""The pause after a start that failed; it doubles with each further one."""

BACK_OFF_MAX_S = 30.0
"""The longest such pause: it matters to `min_containers`, which try for ever."""


def blame(turn: Turn, container: Container, reason: ExitReason, detail: str) -> None:
    """A container that took inputs has died by itself: what ran in it is suspected of having ended it."""
    pool = container.pool
    what = f"{reason.value}: {detail}" if detail else reason.value
    pool.experience.distrust(len(container.load))
    if reason is ExitReason.OOM and len(container.load) == 1:  # then it is known whose memory it was
        message = f"its container {container.id} ended under it ({what})"
        end_attempts(turn, container, list(container.load.values()), Failure.OOM, message)
    else:
        _charge(turn, container, what)
    _back_off_crash(turn, pool, what)
    pool.index_all(turn)


def end_attempts(turn: Turn, container: Container, inputs: list[Input], failure: Failure, message: str) -> None:
    """The attempts of these inputs, which ran there, have failed: they run again if they have retries left."""
    pool = container.pool
    again = [item for item in inputs if pool.may_retry(item)]
    for item in again:
        del container.load[item.key]
    if again:
        turn.actions.append(RetryInputs(tuple([pool.delay(turn, item) for item in again])))
    _fail(turn, container, [item for item in inputs if item.container is container], failure, message)


def count_start_failure(turn: Turn, pool: Pool, detail: str) -> None:
    """A container ended before it was loaded. After three in a row those who wait are told, unless others work."""
    pool.failures += 1
    if pool.failures >= START_FAILURES_MAX:
        pool.failures = 0
        if not pool.serving:
            message = f"no container of it starts: {START_FAILURES_MAX} in a row failed, the last because: {detail}"
            pool.fail_queued(turn, Failure.START_FAILED, message)
    back_off_start(turn, pool, detail)


def back_off_start(turn: Turn, pool: Pool, detail: str) -> None:
    """A start has failed: the next comes after a pause."""
    pool.failure = detail
    pool.broken += 1
    pool.retry_at = turn.now + _pause(pool.broken)


def running_in(container: Container) -> list[Input]:
    """What runs there; the others of its load wait inside it."""
    return list(islice(container.load.values(), container.slots))


def _charge(turn: Turn, container: Container, what: str) -> None:
    """It died by itself: what ran in it has crashed once more."""
    running = running_in(container)
    for item in running:
        item.crashes += 1
    if container.slots > 1:
        container.pool.suspects.update(item.key for item in running if item.crashes >= ALONE_FROM)
    spent = [item for item in running if item.crashes > CRASHES_MAX]
    message = f"its container died under it {CRASHES_MAX + 1} times, the last time {container.id} ({what})"
    _fail(turn, container, spent, Failure.CRASHED, message)


def _fail(turn: Turn, container: Container, inputs: list[Input], failure: Failure, message: str) -> None:
    """End these inputs, which ran there; what nobody wants any more ends in silence."""
    keys = tuple(item.key for item in inputs if item.claim in (Claim.WANTED, Claim.UNCLAIMED))
    for item in inputs:
        del container.load[item.key]
        if item.claim is Claim.AGAIN:
            container.pool.requeue((item,))
        else:
            del container.pool.inputs[item.key]
    if keys:
        turn.actions.append(FailInputs(keys, failure, message))


def _back_off_crash(turn: Turn, pool: Pool, detail: str) -> None:
    """The first crash costs no time, a loop of them does."""
    pool.failure = detail
    if pool.streak:
        pool.retry_at = turn.now + _pause(pool.streak)
    pool.streak += 1


def _pause(streak: int) -> float:
    return min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(streak - 1, 16))

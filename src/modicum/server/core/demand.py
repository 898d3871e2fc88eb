"""How many containers should a function have?"""

from __future__ import annotations

from math import ceil, inf

from .pool import Pool
from .records import BEGINNING

COLD_START_MIN_S = 0.2
"""A backlog shorter than this is worked off by those that run: a container costs more than its start."""

GROWTH_STEP_S = 0.01
"""How often, at most, a slow input makes its pool grow."""


def may_lack_one(pool: Pool) -> bool:
    """Whether it is worth asking how many are wanted. Most often nothing waits, and the answer is no."""
    if pool.queue or pool.backlog or pool.old:
        return True
    return not pool.grows_by_queue_alone or pool.live < pool.spec.min_containers


def note(pool: Pool, now: float) -> None:
    """Remember how many it needs now: its buffer is kept beside the most that it needed of late."""
    needed = max(_for_load(pool, now), _busy(pool))
    pool.needed.note(needed, now, pool.spec.scaledown_window_s)


def wanted(pool: Pool, now: float) -> int:
    """How many containers the pool should have, those included that finish what they run and go.

    As many as its load wants; the buffer beside those that are busy, while any are; its minimum at least and its
    maximum at most.
    """
    spec = pool.spec
    count = _for_load(pool, now)
    if spec.buffer_containers and (needed := max(count, _busy(pool))):
        count = needed + spec.buffer_containers
    if count < spec.min_containers:
        count = spec.min_containers
    return count if spec.max_containers is None else min(count, spec.max_containers)


def is_renewing(pool: Pool) -> bool:
    """Whether all its containers are of an old generation: one of the new is to take over."""
    return bool(pool.old) and len(pool.old) == pool.live


def look_again_at(pool: Pool, now: float) -> float:
    """When the input that runs longest will have shown itself slow enough for another container; infinity if never."""
    spec, load = pool.spec, pool.load
    most = min(_most(pool), inf if spec.max_containers is None else spec.max_containers)
    oldest = inf if pool.live >= most else oldest_in(pool, inf)
    if oldest == inf:
        return inf
    slow_s = pool.live * spec.aim * cold_start_s(pool) / load * 1.001  # past the threshold, not on it
    return max(now + GROWTH_STEP_S, min(oldest + pool.experience.age_when(slow_s), _stalled_at(pool)))


def cold_start_s(pool: Pool) -> float:
    """How long another container takes, as far as that matters."""
    return max(pool.experience.cold_start_s, COLD_START_MIN_S)


def oldest_in(pool: Pool, default: float) -> float:
    """When the input that runs longest began."""
    starts = [each.oldest.started for each in pool.containers.values() if each.load]
    return min((started for started in starts if started is not None), default=default)


def _for_load(pool: Pool, now: float) -> int:
    """min(max, ⌈(queued + running) × run time / max(cold start, 0.2 s) / aim⌉): as many as finish what is there in the
    time that one more would take to start. Never more than inputs could fill.
    """
    spec = pool.spec
    if not pool.is_waiting and spec.aim == spec.slots:
        return 0
    most = _most(pool)
    if spec.single_use or most <= pool.live:
        return most
    run_s = pool.experience.run_s(now - oldest_in(pool, now))
    count = max(1, min(most, ceil(pool.load * run_s / cold_start_s(pool) / spec.aim)))
    return max(count, pool.live + 1) if now >= _stalled_at(pool) else count


def _stalled_at(pool: Pool) -> float:
    """When inputs will have waited for as long as a start takes and none began: short ones, behind few long ones."""
    there = pool.containers.values()
    if not pool.is_waiting or not pool.live or any(each.state in BEGINNING for each in there):
        return inf
    return max(each.moved for each in there) + cold_start_s(pool)


def _most(pool: Pool) -> int:
    """How many containers its inputs could fill. Nothing is added to one that is leaving, nor to a batch that runs."""
    spec = pool.spec
    if spec.slots == 1:
        return pool.load
    batched = bool(spec.batch_size)
    closed = [each for each in pool.containers.values() if each.load and (each.yielding or (batched and each.slow))]
    elsewhere = pool.load - sum(len(each.load) for each in closed)
    return len(closed) + ceil(elsewhere / spec.aim)


def _busy(pool: Pool) -> int:
    beginning = sum(each.state in BEGINNING for each in pool.containers.values())
    return pool.live - len(pool.idle) - beginning

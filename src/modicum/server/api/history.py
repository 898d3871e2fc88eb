"""What a function did in a range of time: its inputs and its containers, in counts and percentiles."""

from __future__ import annotations

import time

from modicum.server.api.fields import patience
from modicum.server.api.functions import find
from modicum.server.core.events import ExitReason
from modicum.server.history import KEPT_S, percentiles
from modicum.server.parts import Parts
from modicum.stores import history as stored
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header

PERCENTAGES = (50, 90, 95, 99)

UNWANTED = frozenset({ExitReason.CRASHED, ExitReason.OOM, ExitReason.NODE_LOST, ExitReason.START_FAILED})
"""Ends of containers that count as errors."""

NOW_S = 60.0
"""A range that ends no longer ago ends now: what is running at its end is what is running."""


async def history(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell what a function, or it and its variants, did."""
    function = find(parts, channel, header["function"])
    since, until = patience(header["since"], 1e12), patience(header["until"], 1e12)
    if since >= until or until - since > KEPT_S:
        raise RemoteFailure(
            "invalid", f"a range of time has {KEPT_S / 86400:.0f} days at most, and begins before it ends"
        )
    variants = parts.variants.of(function)
    ids = [function.id, *variants] if header.get("all_variants") else [function.id]
    counts = await parts.history.read(ids, since, until)
    return {
        "function": function.id,
        "variants": len(variants),
        "succeeded": counts.get("succeeded", 0),
        "failed": counts.get("failed", 0),
        "timed_out": counts.get("timed_out", 0),
        "run_s": percentiles(counts.get("run_s", {}), PERCENTAGES),
        "startup_s": percentiles(counts.get("startup_s", {}), PERCENTAGES),
        **_now(parts, set(ids), until),
        **await _containers(parts, ids, since, until),
    }


def _now(parts: Parts, ids: set[str], until: float) -> dict[str, int]:
    if until < time.time() - NOW_S:
        return {"running": 0, "creating": 0}
    state = parts.controller.state
    starting = [each for each in state.containers() if each.function in ids and each.state == "starting"]
    return {"running": sum(state.stats(each).running for each in ids), "creating": len(starting)}


async def _containers(parts: Parts, ids: list[str], since: float, until: float) -> dict[str, int]:
    ended = await parts.database.submit(stored.containers(ids, since))
    alive = [each.started_at or 0.0 for each in parts.fleet.containers.values() if each.function in ids]
    begun = [*alive, *(started or 0.0 for started, _, _ in ended)]
    reasons = [ExitReason(reason) for _, at, reason in ended if at < until]
    return {
        "total": sum(at < until for at in begun),
        "started": sum(since <= at < until for at in begun),
        "errors": sum(reason in UNWANTED for reason in reasons),
    }


HANDLERS = {"function.history": history}

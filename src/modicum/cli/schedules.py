"""When functions run by themselves, and what their last runs came to, as commands tell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modicum._display import counted
from modicum.cli import tables
from modicum.schedule import describe

STATES = {
    "ok": "succeeded", "exception": "failed", "timeout": "timed out", "internal": "failed", "terminated": "cancelled",
}  # fmt: skip


def facts(each: dict[str, Any]) -> dict[str, Any]:
    """Return one schedule as scripts read it."""
    last = each["last"]
    return {
        "function": each["function"],
        "schedule": describe(each["schedule"]),
        "next_run_at": _at(tables.iso, each["next_at"]),
        "skipped": each["skipped"],
        "last_run": None if last is None else _run(last),
    }


def _run(last: dict[str, Any]) -> dict[str, Any]:
    return {
        "call": last["call"],
        "state": STATES.get(last["state"], last["state"]),
        "created_at": _at(tables.iso, last["created_at"]),
        "finished_at": _at(tables.iso, last["finished_at"]),
    }


def sentence(each: dict[str, Any]) -> str:
    """Return one schedule as people read it."""
    due = "never" if each["next_at"] is None else tables.moment(each["next_at"])
    return f"{describe(each['schedule'])}, next {due}{_last(each)}"


def _last(each: dict[str, Any]) -> str:
    last = each["last"]
    if last is None:
        return ""
    begun = "" if last["created_at"] is None else f" {tables.moment(last['created_at'])}"
    skipped = f", {counted(each['skipped'], 'time')} due since and not run" if each["skipped"] else ""
    return f", last{begun} {STATES.get(last['state'], last['state'])} ({last['call']}){skipped}"


def soonest(schedules: Sequence[dict[str, Any]], written: Callable[[float], str]) -> str | None:
    """Return when the first of some is due next, None if none is."""
    moments = [each["next_at"] for each in schedules if each["next_at"] is not None]
    return written(min(moments)) if moments else None


def latest(schedules: Sequence[dict[str, Any]], written: Callable[[float], str]) -> str | None:
    """Return when the last of some ran, and what came of it; None if none did."""
    runs = [each["last"] for each in schedules if each["last"] is not None and each["last"]["created_at"] is not None]
    if not runs:
        return None
    last = max(runs, key=lambda run: float(run["created_at"]))
    return f"{written(last['created_at'])} {STATES.get(last['state'], last['state'])}"


def _at(written: Callable[[float], str], moment: float | None) -> str | None:
    return None if moment is None else written(moment)

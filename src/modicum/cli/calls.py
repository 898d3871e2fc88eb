"""`modicum function calls`: what became of a function's inputs, and why some still wait."""

from __future__ import annotations

from typing import Any

import click

from modicum._display import counted
from modicum.cli import moments, options, tables
from modicum.cli.asking import ask
from modicum.cli.functions import function as group

TAIL = 10
TAIL_MAX = 1000

HOUR_S = 3600.0
"""How much before `--until` is shown where no `--since` is given."""

STATES = {"ok": "success", "done": "success", "exception": "failure", "internal": "failure"}
"""How a status is shown that does not say it itself."""


@group.command("calls")
@click.argument("function", metavar="FUNCTION")
@click.option(
    "-n", "--tail", metavar="N", type=click.IntRange(1, TAIL_MAX),
    help=f"The last N inputs, the newest first; {TAIL} unless a time is given.",
)  # fmt: skip
@options.since
@options.until
@click.option("--all-variants", is_flag=True, help="Those of the function's variants, too.")
@click.option("--show-function-call-id", is_flag=True, help="Show the call's id.")
@options.as_json
@options.no_color
@options.environment
def list_calls(
    function: str,
    tail: int | None,
    since: str | None,
    until: str | None,
    all_variants: bool,
    show_function_call_id: bool,
    as_json: bool,
) -> None:
    """Show a function's inputs: the last spawned ones, and those of other calls that run now.

    With `--since` or `--until` the spawned ones of a time are shown, the oldest first; `--until` alone means the hour
    before it. FUNCTION is an id, fu-…, or APP/FUNCTION.
    """
    if tail is not None and (since or until):
        raise click.UsageError("--tail cannot be combined with --since or --until")
    request: dict[str, Any] = {"t": "call.list", "function": function, "variants": all_variants, "count": tail or TAIL}
    if since or until:
        request |= {"count": TAIL_MAX, **_range(since, until)}
    answer = ask(request)
    rows = [_row(each, as_json) for each in answer["calls"]]
    columns = {"enqueued_at": "Enqueued", "function_call_id": "Call", "index": "Input", "method": "Method"}
    columns |= {"container_id": "Container", "execution_time_seconds": "Ran for", "status": "Status"}
    if not show_function_call_id:
        del columns["function_call_id"]
    if not any(row["method"] for row in rows):
        del columns["method"]
    tables.show(rows, columns, as_json, "no inputs")
    if answer["pending"] and not as_json:
        click.echo(f"{counted(answer['pending'], 'spawned input')} pending: {answer['why']}")


def _range(since: str | None, until: str | None) -> dict[str, float]:
    end = moments.parse("--until", until) if until else None
    start = moments.parse("--since", since) if since else (end or 0.0) - HOUR_S
    return {"since": max(start, 0.0), **({} if end is None else {"until": end})}


def _row(each: dict[str, Any], as_json: bool) -> dict[str, Any]:
    ran_s, created_at = each["run_s"], each["created_at"]
    if not as_json and ran_s is not None:
        ran_s = f"{ran_s:.2f} s"
    return {
        "enqueued_at": None if created_at is None else (tables.iso if as_json else tables.moment)(created_at),
        "function_call_id": each["call"],
        "index": each["index"],
        "method": each["method"],
        "container_id": each["container"],
        "execution_time_seconds": ran_s,
        "status": STATES.get(each["state"], each["state"]),
        **({"why": each["why"]} if as_json else {}),
    }

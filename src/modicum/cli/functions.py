"""`modicum function`: how a function is configured, what it does, and what its autoscaler is told."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import UTC
from typing import Any

import click

from modicum._display import counted
from modicum.cli import moments, options, schedules, tables
from modicum.cli.asking import ask
from modicum.cli.groups import Group
from modicum.types import FunctionStats

_NAMED = click.argument("function", metavar="FUNCTION")

_SETTINGS = {
    "min_containers": "Min containers",
    "max_containers": "Max containers",
    "buffer_containers": "Buffer containers",
    "scaledown_window": "Scaledown window",
}


@click.group(cls=Group, not_yet=frozenset({"metrics"}))
def function() -> None:
    """Look at functions, and tell their autoscalers. FUNCTION is an id, fu-…, or APP/FUNCTION."""


@function.command()
@_NAMED
@options.as_json
@options.environment
def info(function: str, as_json: bool) -> None:
    """Show how a function is configured, and what it does now.

    FUNCTION is an id, fu-…, or APP/FUNCTION.
    """
    from modicum import _function_info

    found = ask({"t": "function.info", "function": function})
    now = ask({"t": "function.stats", "function": found["function"]})
    facts = dataclasses.asdict(_function_info.of_answer(found))
    del facts["_inner_server_info"]
    facts |= {name: found["options"].get(name) for name in _SETTINGS}
    facts |= {"variant_of": found["parent"], "current": _current(now)}
    scheduled = _scheduled(found)
    head = {"name": found["name"], "object_id": found["function"], "app_id": found["app"]}
    if as_json:
        runs = schedules.facts(scheduled[0]) if scheduled else {}
        tables.show_facts({**head, **facts, **{name: runs.get(name) for name in ("next_run_at", "last_run")}})
    else:
        facts["schedule"] = schedules.sentence(scheduled[0]) if scheduled else facts["schedule"]
        _show_info({**head, "app": f"{found['app_name']} ({found['app']})", **facts}, now)


def _scheduled(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what there is to say of a function's schedule, nothing of none."""
    if not found["options"].get("schedule"):
        return []
    return list(ask({"t": "schedule.list", "function": found["function"]})["schedules"])


def _current(now: dict[str, Any]) -> dict[str, Any]:
    return {
        "backlog": now["backlog"],
        "num_total_runners": now["runners"],
        "num_running_inputs": now["running"],
        "input_headroom": now["headroom"],
        "why_waiting": now["why"] or None,
    }


def _show_info(facts: dict[str, Any], now: dict[str, Any]) -> None:
    concurrency, batching = facts["concurrency_info"], facts["batching_info"]
    target = concurrency and concurrency["target_inputs"]
    rows = {
        "Function": f"{facts['name']} ({facts['object_id']})",
        "Variant of": facts["variant_of"],
        "App": facts["app"],
        "Image": facts["image_info"]["image_id"],
        "Methods": facts["method_names"] and ", ".join(facts["method_names"]),
        "CPUs": _asked(facts["cpu"]),
        "Memory": _asked(facts["memory_mib"], " MiB"),
        "GPUs": " or ".join(f"{kind}:{count}" for kind, count in facts["gpus"]) or None,
        "Disk": _asked(facts["ephemeral_disk_mib"], " MiB"),
        "Containers": f"{_word(facts['min_containers'])} / {_word(facts['max_containers'])} / "
        f"{_word(facts['buffer_containers'])} (min / max / buffer)",
        "Scaledown window": f"{facts['scaledown_window']} s",
        "Timeout": f"{facts['timeout']} s, startup {facts['startup_timeout']} s",
        "Retries": facts["max_retries"],
        "Concurrency": concurrency and f"{concurrency['max_inputs']} inputs{f', target {target}' if target else ''}",
        "Batching": batching and f"{batching['max_batch_size']} inputs, {batching['wait_ms']} ms",
        "Schedule": facts["schedule"],
        "Single use": "yes" if facts["single_use_containers"] else None,
        "Network": "blocked" if facts["block_network"] else None,
        "Use of Modicum": "restricted" if facts["restrict_modal_access"] else None,
        "Secrets": ", ".join(facts["secrets"]) or None,
        "Regions": facts["regions"] and ", ".join(facts["regions"]),
        "Cloud": facts["cloud"],
        "Now": _now(now),
        "Why they wait": now["why"] or None,
    }
    for name, value in rows.items():
        if value is not None:
            click.echo(f"{name:<16} {value}")


def _asked(value: Any, unit: str = "") -> str | None:
    """Return a request, or a request and a limit."""
    if value is None:
        return None
    request, limit = value if isinstance(value, (tuple, list)) else (value, None)
    return f"{request:g}{unit}" + ("" if limit is None else f", at most {limit:g}{unit}")


def _now(now: dict[str, Any]) -> str:
    waiting = f"{counted(now['backlog'], 'input')} waiting, {now['running']} running"
    return f"{waiting}, on {counted(now['runners'], 'container')} with room for {now['headroom']} more"


def _word(value: object) -> str:
    return "-" if value is None else str(value)


@function.command()
@_NAMED
@options.since
@options.until
@click.option("--all-variants", is_flag=True, help="Count its variants, too.")
@options.as_json
@options.no_color
@options.environment
def stats(function: str, since: str | None, until: str | None, all_variants: bool, as_json: bool) -> None:
    """Show what a function did in the last hour, or the hour before `--until`, or another time, and what it does now.

    FUNCTION is an id, fu-…, or APP/FUNCTION. Inputs are counted to the minute, for 7 days; percentiles are right to
    some percent.
    """
    from modicum import _function_info

    first, last = _function_info.time_range(_moment("--since", since), _moment("--until", until))
    header = {"t": "function.history", "function": function, "all_variants": all_variants}
    answer = ask({**header, "since": first.timestamp(), "until": last.timestamp()})
    now = ask({"t": "function.stats", "function": answer["function"]})
    found = _function_info.stats(answer, first, last, all_variants)
    if as_json:
        facts = {**dataclasses.asdict(found), "since": first.isoformat(), "until": last.isoformat()}
        tables.show_facts({"object_id": answer["function"], **facts, "current": _current(now)})
    else:
        _show_stats(answer["function"], found, now)


def _moment(option: str, text: str | None) -> Any:
    from datetime import datetime

    return None if text is None else datetime.fromtimestamp(moments.parse(option, text), UTC)


def _show_stats(object_id: str, found: FunctionStats, now: dict[str, Any]) -> None:
    among = f", with {counted(found.variant_count, 'variant')}" if found.all_variants else ""
    click.echo(f"{object_id}{among}, {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC")
    click.echo(
        f"Inputs      {found.input_success_count} succeeded, {found.input_failure_count} failed, "
        f"{found.input_timeout_count} timed out, {found.input_running_at_end_count} running"
    )
    click.echo(
        f"Containers  {found.container_total_count} in all, {found.container_started_count} started, "
        f"{found.container_error_count} failed, {found.container_creating_at_end_count} starting"
    )
    measured = {**found.input_percentile_stats, **found.container_percentile_stats}
    for name, each in measured.items():
        click.echo(f"{name:<19} " + "  ".join(f"p{part.percentile:g} {part.value:g}" for part in each.percentiles))
    click.echo(f"Now         {_now(now)}{': ' + now['why'] if now['why'] else ''}")


@function.command()
@_NAMED
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Show so many at most, those with most containers first; 0 shows all, the newest first.",
)
@options.as_json
@options.environment
def variants(function: str, limit: int, as_json: bool) -> None:
    """List a function's variants: those with settings, or a class's with parameters, of their own.

    FUNCTION is an id, fu-…, or APP/FUNCTION.
    """
    answer = ask({"t": "function.variants", "function": function, "limit": limit})
    rows = [
        {
            "function_id": each["id"],
            "parameters": _parameters(each["parameters"], as_json),
            "options": each["settings"] if as_json else _words(each["settings"]),
            "containers": each["runners"],
        }
        for each in answer["variants"]
    ]
    columns = {"function_id": "Function", "options": "Options", "containers": "Containers"}
    if any(row["parameters"] is not None for row in rows):
        columns = {"function_id": "Function", "parameters": "Parameters", **columns}
    tables.show(rows, columns, as_json, f"{answer['function']} has no variants")


def _parameters(encoded: str | None, as_json: bool) -> Any:
    """Return a class's parameters, which travel as JSON."""
    if encoded is None:
        return None
    found = json.loads(base64.b64decode(encoded))
    return found if as_json else ", ".join(f"{name}={value!r}" for name, value in found.items())


def _words(settings: dict[str, Any]) -> str:
    parts = []
    for name, value in settings.items():
        if name == "gpu":
            value = " or ".join(f"{each['type']}:{each['count']}" for each in value)
        fields = value if isinstance(value, dict) else {name: value}
        parts += [f"{field}={part}" for field, part in fields.items() if part is not None]
    return ", ".join(parts)


@function.group()
def autoscaler() -> None:
    """See and change what a function's autoscaler is told."""


@autoscaler.command("settings")
@_NAMED
@options.as_json
@options.environment
def show_settings(function: str, as_json: bool) -> None:
    """Show what holds now, and what of it was told after the function was defined.

    FUNCTION is an id, fu-…, or APP/FUNCTION.
    """
    answer = ask({"t": "function.configure", "function": function, "settings": {}})
    if as_json:
        tables.show_facts({"current_settings": answer["settings"], "overrides": answer["overrides"]})
    else:
        _show_settings(answer)


@autoscaler.command("update")
@_NAMED
@click.option("--min-containers", type=click.IntRange(min=0), help="How many containers there are at least.")
@click.option("--max-containers", type=click.IntRange(min=1), help="How many there are at most.")
@click.option(
    "--buffer-containers", type=click.IntRange(min=0), help="How many more than have work, while there is any."
)
@click.option(
    "--scaledown-window", type=click.IntRange(2, 3600), help="How many seconds a container stays without work."
)
@options.environment
def update_settings(function: str, **told: int | None) -> None:
    """Tell the autoscaler, at once; it holds until the function's app is deployed again.

    FUNCTION is an id, fu-…, or APP/FUNCTION.
    """
    settings = {name: value for name, value in told.items() if value is not None}
    if not settings:
        raise click.UsageError(f"say what to change: {', '.join('--' + name.replace('_', '-') for name in _SETTINGS)}")
    _show_settings(ask({"t": "function.configure", "function": function, "settings": settings}))


def _show_settings(answer: dict[str, Any]) -> None:
    rows = [
        {
            "setting": label,
            "value": f"{answer['settings'][name]} s" if name == "scaledown_window" else answer["settings"][name],
            "told": name in answer["overrides"],
        }
        for name, label in _SETTINGS.items()
    ]
    tables.show(rows, {"setting": "Setting", "value": "Value", "told": "Told later"}, False, "")

"""What is asked of single functions: to have settings of their own, and what they do."""

from __future__ import annotations

from typing import Any

from modicum.server.admission import remarks
from modicum.server.api import options
from modicum.server.api.calls import check_same_app
from modicum.server.parts import Parts
from modicum.server.records import Function
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import USER


def find(parts: Parts, channel: Channel, named: Any) -> Function:
    """Return a function by its id, for a user also by `APP/FUNCTION` of an app that runs. Raises `RemoteFailure`."""
    by_id = named.startswith("fu-") or channel.principal != USER
    function = parts.fleet.functions.get(named) if by_id else _by_name(parts, named)
    if function is None:
        raise RemoteFailure("not_found", f"the function {named} does not exist, or its app has ended")
    check_same_app(parts, channel, function.app)
    return function


def _by_name(parts: Parts, named: str) -> Function:
    app_name, slash, name = named.partition("/")
    if not slash:
        raise RemoteFailure("invalid", f"{named!r} names no function; say APP/FUNCTION, or its id, fu-…")
    apps = [app for app in parts.apps.by_id.values() if app.name == app_name]
    if not apps:
        raise RemoteFailure("not_found", f"no app named {app_name!r} is there")
    # A class's containers are of one function, `Model.*`; it is meant by its name, and by each method's.
    alike = (name, f"{name}.*", f"{name.rpartition('.')[0]}.*")
    name = next((each for each in alike if any(each in app.functions for app in apps)), name)
    having = [app for app in apps if name in app.functions]
    if not having:
        known = ", ".join(sorted({each for app in apps for each in app.functions})) or "none"
        raise RemoteFailure("not_found", f"the app {app_name!r} has no function {name!r}; it has {known}")
    having = [app for app in having if app.deployed] or having
    if len(having) > 1:
        ids = ", ".join(app.functions[name] for app in having)
        raise RemoteFailure("invalid", f"{len(having)} apps named {app_name!r} have it; say which: {ids}")
    return parts.fleet.functions[having[0].functions[name]]


def shown(channel: Channel, options: dict[str, Any]) -> dict[str, Any]:
    """Return a function's options; not to a container the ids of its secrets: who knows one can have its values."""
    if channel.principal == USER:
        return options
    return {name: value for name, value in options.items() if name != "secrets"}


async def bind(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give the variant of a function with some settings."""
    function = find(parts, channel, header["function"])
    settings = options.check_settings(header["options"])
    parts.secrets.check(settings.get("secrets", ()))
    if settings.get("retries") is not None and function.definition["spec"]["generator"]:
        raise RemoteFailure("invalid", f"{function.name!r} is a generator function: it cannot have retries")
    bound = await parts.variants.bind(function, settings, options.check_parameters(header.get("parameters")))
    answer = {"function": bound.id, "spec": bound.definition["spec"], "options": shown(channel, bound.options)}
    return {**answer, "remarks": await remarks(parts.fleet, parts.controller.state, bound) if settings else []}


async def configure(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell the autoscaler of a function; without a word, only say what holds."""
    function = find(parts, channel, header["function"])
    told = options.check_told(header["settings"])
    if told:
        await parts.variants.configure(function, told)
    return {
        "settings": {name: function.options.get(name, 0) for name in sorted(options.TOLD)},
        "overrides": function.overrides,
    }


def stats(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell what a function does now."""
    function = find(parts, channel, header["function"])
    state = parts.controller.state
    now = state.stats(function.id)
    return {
        "backlog": now.backlog,
        "runners": now.runners,
        "running": now.running,
        "headroom": now.headroom,
        "why": state.why_waiting(function.id) if now.backlog else "",
    }


def info(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell how a function is configured."""
    function = find(parts, channel, header["function"])
    return {
        "function": function.id,
        "name": function.name,
        "app": function.app,
        "app_name": parts.apps.by_id[function.app].name,
        "parent": function.parent,
        "image": function.definition["image"],
        "options": shown(channel, function.options),
        "spec": function.definition["spec"],
    }


def variants(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which variants a function has, those with most containers first, or the newest, as `limit` is 0."""
    function = find(parts, channel, header["function"])
    base = function if function.parent is None else parts.fleet.functions[function.parent]
    found = [_variant(parts, parts.fleet.functions[each]) for each in reversed(parts.variants.of(base))]
    if header["limit"]:
        found = sorted(found, key=lambda each: -each["runners"])[: header["limit"]]
    return {"function": base.id, "variants": found}


def _variant(parts: Parts, variant: Function) -> dict[str, Any]:
    runners = parts.controller.state.stats(variant.id).runners
    return {"id": variant.id, "settings": variant.settings, "parameters": variant.parameters, "runners": runners}


HANDLERS = {
    "function.bind": bind,
    "function.configure": configure,
    "function.stats": stats,
    "function.info": info,
    "function.variants": variants,
}

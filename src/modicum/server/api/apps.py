"""How apps and their functions are made and end."""

from __future__ import annotations

from typing import Any

from modicum.server.api.fields import seconds, whole
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel
from modicum.wire.frames import Header


async def create(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Make an app; the same key gives the same app."""
    app = await parts.apps.create(str(header["name"]), str(header["key"]))
    return {"app": app.id}


def attach(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Keep an app alive for as long as this connection lasts."""
    parts.apps.attach(header["app"], channel)
    return None


async def stop(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """End an app. One that has ended already is no error."""
    await parts.apps.stop(header["app"])
    return None


async def create_function(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Make a function of an app callable."""
    definition = {name: header[name] for name in ("image", "files", "options", "spec")}
    _check(parts, definition)
    function = await parts.apps.create_function(header["app"], str(header["name"]), definition, payload)
    return {"function": function.id}


def _check(parts: Parts, definition: dict[str, Any]) -> None:
    """Raise `ValueError` or `KeyError` for what no container could be made of."""
    parts.fleet.image_of(definition["image"])
    options, spec = definition["options"], definition["spec"]
    whole(options["min_containers"])
    if options["max_containers"] is not None:
        whole(options["max_containers"])
    for name in ("scaledown_window", "timeout", "startup_timeout"):
        seconds(options[name])
    if not isinstance(spec["module"], str) or not isinstance(spec["qualname"], str):
        raise ValueError(f"{spec!r} names no function")
    absent = next((each for each in definition["files"] if not parts.files.has(each)), None)
    if absent is not None:
        raise ValueError(f"the file set {absent} is not here")


HANDLERS = {
    "app.create": create,
    "app.attach": attach,
    "app.stop": stop,
    "function.create": create_function,
}

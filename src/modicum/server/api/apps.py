"""How apps and their functions are made and end."""

from __future__ import annotations

from typing import Any

from modicum.blobs.base import BlobMissing
from modicum.server.admission import remarks
from modicum.server.api.fields import value_blob
from modicum.server.api.options import check_options
from modicum.server.due_times import BadSchedule
from modicum.server.gpus import check_known
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header
from modicum.wire.messages import SERIALIZED_BYTES_MAX


async def create(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Make an app; the same key gives the same app."""
    detached, tags = bool(header.get("detached", False)), tag_dict(header.get("tags") or {})
    draft = bool(header.get("draft", False))
    app = await parts.apps.create(str(header["name"]), str(header["key"]), detached, tags, draft)
    app.warned = app.warned or bool(header.get("told", False))
    return {"app": app.id}


def tag_dict(tags: dict[str, str]) -> dict[str, str]:
    """Return tags. Raises `ValueError` if they are none."""
    if not all(isinstance(part, str) for pair in tags.items() for part in pair):
        raise ValueError(f"{tags!r} are no tags")
    return tags


def attach(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Keep an app alive for as long as this connection lasts."""
    parts.apps.attach(header["app"], channel)
    return None


def leave(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Leave a detached app to itself."""
    parts.apps.leave(header["app"])
    return None


async def stop(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """End an app. One that has ended already is no error."""
    await parts.apps.stop(header["app"])
    return None


async def create_function(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Make a function of an app callable."""
    definition = {name: header[name] for name in ("image", "files", "options", "spec")}
    try:
        check_definition(parts, definition)
    except BadSchedule as error:
        raise RemoteFailure("invalid", f"the schedule of the function {header['name']!r}: {error}") from None
    code = payload if header.get("code") is None else _take_code(parts, value_blob(header["code"]))
    function = await parts.apps.create_function(header["app"], str(header["name"]), definition, code)
    return {"function": function.id, "remarks": await remarks(parts.fleet, parts.controller.state, function)}


def _take_code(parts: Parts, blob: str | None) -> bytes:
    """Return a serialized function that came as a blob; the blob goes."""
    assert blob is not None
    code, total = b"", 1
    try:
        while len(code) < total <= SERIALIZED_BYTES_MAX:
            chunk, total = parts.blobs.read(blob, len(code), PAYLOAD_BYTES_MAX)
            code += chunk
    except BlobMissing:
        raise RemoteFailure("not_found", f"the function's code, {blob}, is not here") from None
    parts.blobs.delete(blob)
    if total > SERIALIZED_BYTES_MAX:
        raise RemoteFailure(
            "request_size", f"a serialized function has {SERIALIZED_BYTES_MAX} bytes at most, not {total}"
        )
    return code


def check_definition(parts: Parts, definition: dict[str, Any]) -> None:
    """Raise `ValueError`, `KeyError` or `RemoteFailure` for what no container could be made of."""
    _check_image(parts, str(definition["image"]))
    check_options(definition["options"])
    parts.secrets.check(definition["options"].get("secrets", ()))
    _check_isolation(parts, definition)
    spec = definition["spec"]
    name = str(spec.get("name", spec["qualname"]))
    check_known(name, definition["options"].get("gpu"), parts.fleet.node_facts.values())
    if not isinstance(spec["module"], str) or not isinstance(spec["qualname"], str):
        raise ValueError(f"{spec!r} names no function")
    absent = next((each for each in definition["files"] if not parts.files.has(each)), None)
    if absent is not None:
        raise ValueError(f"the file set {absent} is not here")


def _check_image(parts: Parts, image: str) -> None:
    try:
        parts.fleet.image_of(image)
    except KeyError:
        text = f"there is no image {image}; `modicum image list` shows those that are built"
        raise RemoteFailure("not_found", text) from None


def _check_isolation(parts: Parts, definition: dict[str, Any]) -> None:
    """Raise `RemoteFailure` for a function that asks to be kept from what plain processes cannot be kept from."""
    asked = [name for name in ("block_network", "restrict_modal_access") if definition["options"].get(name)]
    if asked and not parts.settings.isolated:
        name = definition["spec"].get("name", "the function")
        raise RemoteFailure(
            "invalid",
            f"{name!r} has {asked[0]}=True, which MODICUM_RUNTIME=process cannot keep: its containers are plain "
            "processes, which reach all that you can. Leave it out, or use a runtime with isolation",
        )


HANDLERS = {
    "app.create": create,
    "app.attach": attach,
    "app.leave": leave,
    "app.stop": stop,
    "function.create": create_function,
}

"""How images come to be."""

from __future__ import annotations

from modicum.server.api.options import check_secrets
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel
from modicum.wire.frames import Header


async def build(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Build an image unless it is there.

    What it prints goes to the app's log, after what the app's user must know and before all that follows.
    """
    await parts.apps.warn(header["app"], parts.engine.notice)
    needed = [each.get("files") for step in header["steps"] for each in (step, step.get("shipped", {}))]
    absent = next((files for files in needed if files is not None and not parts.files.has(files)), None)
    if absent is not None:
        raise ValueError(f"the file set {absent} is not here")
    for step in header["steps"]:
        check_secrets(step.get("secrets", []))
        parts.secrets.check(step.get("secrets", []))
    image = await parts.builds.build(header["steps"], header["app"], bool(header.get("ignore_cache")))
    return {"image": image, "log": [header["app"], parts.logs.end(header["app"])]}


def output(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A build printed something."""
    parts.builds.printed(header["build"], payload)
    return None


def done(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A build is complete."""
    parts.builds.done(header["build"], header.get("config") or {})
    return None


def failed(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A build has failed."""
    parts.builds.failed(header["build"], header["message"])
    return None


HANDLERS = {"image.build": build, "build.output": output, "build.done": done, "build.failed": failed}

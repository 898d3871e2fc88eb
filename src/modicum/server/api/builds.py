"""How images come to be."""

from __future__ import annotations

from typing import Any

from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel
from modicum.wire.frames import Header


async def build(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Build an image unless it is there. What it prints goes to the app's log."""
    absent = next((each for step in header["steps"] for each in _files(step) if not parts.files.has(each)), None)
    if absent is not None:
        raise ValueError(f"the file set {absent} is not here")
    return {"image": await parts.builds.build(header["steps"], header["app"], bool(header.get("ignore_cache")))}


def _files(step: dict[str, Any]) -> list[str]:
    """Return the file sets that a step needs."""
    return [each["files"] for each in (step, step.get("shipped", {})) if "files" in each]


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

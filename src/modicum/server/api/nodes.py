"""What nodes report."""

from __future__ import annotations

from collections.abc import Iterator

from modicum.server.api.fields import container_id
from modicum.server.core.events import ExitReason
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel
from modicum.wire.frames import Header


async def hello(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A node offers its service."""
    for entry in header["containers"]:
        container_id(entry["id"])
    parts.builds.node_has(header["layers"])
    await parts.fleet.node_joins(channel, header)
    return None


def exited(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A container has ended."""
    detail = header["detail"] or _describe(header["code"], header["signal"])
    reason = ExitReason.CRASHED
    container = parts.fleet.containers.get(header["container"])
    if header["oom"]:
        reason, detail = ExitReason.OOM, "it ran out of memory"
    elif container is not None and container.killed:
        reason, detail = ExitReason.KILLED, container.killed
    elif container is not None and container.draining:
        reason = ExitReason.FINISHED
    if container is not None and container.flushing is not None:
        # Its last outputs are here and wait for what they printed: they ended before their container did.
        container.flushing.add_done_callback(lambda _: parts.fleet.exited(container.id, reason, detail))
    else:
        parts.fleet.exited(header["container"], reason, detail)
    return None


def _describe(code: int, signal: int | None) -> str:
    return f"it was killed by signal {signal}" if signal else f"its process ended with exit code {code}"


def output(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A container printed something."""
    container = parts.fleet.containers.get(header["container"])
    if container is not None:
        parts.logs.append(container.app, _entries(header, payload))
    return None


def _entries(header: Header, payload: bytes) -> Iterator[tuple[str, str, bytes]]:
    start = 0
    for stream, _, size in header["entries"]:
        yield stream, header["container"], payload[start : start + size]
        start += size


HANDLERS = {"node.hello": hello, "node.exited": exited, "node.output": output}

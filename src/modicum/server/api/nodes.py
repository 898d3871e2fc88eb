"""What nodes report."""

from __future__ import annotations

from collections.abc import Iterator

from modicum.server.api.fields import container_id, input_key
from modicum.server.core.events import ExitReason
from modicum.server.ends import Exit
from modicum.server.log_segments import Entry
from modicum.server.parts import Parts
from modicum.server.records import Container
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
        reason, detail = ExitReason.OOM, header["detail"] or "it ran out of memory"
    elif container is not None and container.killed:
        reason = ExitReason.START_FAILED if container.failed else ExitReason.KILLED
        detail = container.killed
    elif container is not None and container.draining:
        reason, detail = ExitReason.FINISHED, container.asked
    left = Exit(header["code"], header["signal"])
    if container is not None and container.flushing is not None:
        # Its last outputs are here and wait for what they printed: they ended before their container did.
        container.flushing.add_done_callback(lambda _: parts.fleet.exited(container.id, reason, detail, left))
    else:
        parts.fleet.exited(header["container"], reason, detail, left)
    if container is not None and "usage" in header:
        if reason is not ExitReason.OOM:
            _tell_oom(parts, container, header["usage"])
        parts.usage.told(container, header["usage"], ended=True)
    return None


def usage(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """So much have containers used up to now."""
    for each, used in header["containers"].items():
        container = parts.fleet.containers.get(each)
        if container is not None and container.node == channel.name:
            _tell_oom(parts, container, used)
            parts.usage.told(container, used)
    return None


def _tell_oom(parts: Parts, container: Container, used: Header) -> None:
    """Say once in its app's log that the kernel killed a process of a container that may live on without it."""
    if not used.get("oom") or container.oom_told:
        return
    container.oom_told = True
    line = f"the kernel killed a process of container {container.id} of {parts.fleet.name_of(container.function)}: "
    entry = Entry("system", container.id, f"{line}{str(used['oom'])[:500]}\n".encode(), container.function)
    parts.logs.append(container.app, [entry])


def _describe(code: int, signal: int | None) -> str:
    return f"it was killed by signal {signal}" if signal else f"its process ended with exit code {code}"


def output(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A container printed something."""
    container = parts.fleet.containers.get(header["container"])
    if container is not None:
        function = parts.fleet.functions.get(container.function)
        if function is not None:
            parts.logs.name(container.app, function.id, function.name)
        parts.logs.append(container.app, _entries(container, header, payload))
    return None


def _entries(container: Container, header: Header, payload: bytes) -> Iterator[Entry]:
    start = 0
    for stream, key, size in header["entries"]:
        text = payload[start : start + size]
        yield Entry(stream, container.id, text, container.function, input_key(key))
        start += size


HANDLERS = {"node.hello": hello, "node.exited": exited, "node.output": output, "node.usage": usage}

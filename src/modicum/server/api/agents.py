"""What agents in containers say. A container is known by its socket: it speaks of itself alone."""

from __future__ import annotations

import asyncio

from modicum.server.core import events as ev
from modicum.server.parts import Parts
from modicum.server.records import Container, Output, split_key
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import GENERATOR_DONE, SUCCESS


def _container(parts: Parts, channel: Channel) -> Container:
    container = parts.fleet.containers.get(channel.name)
    if container is None or container.channel is not channel:
        raise RemoteFailure("conflict", "this container is not expected to speak here")
    return container


def hello(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """An agent is ready for inputs, a first time or again."""
    container = parts.fleet.containers.get(channel.name)
    if container is None:
        channel.close()
        raise RemoteFailure("not_found", "this container is not known")
    function = parts.fleet.functions.get(container.function)
    if function is None:
        parts.fleet.kill(container.id, "its function is gone")
        raise RemoteFailure("not_found", "this container's function is gone")
    container.channel = channel
    parts.fleet.changed()
    container.unacknowledged.clear()
    app = parts.apps.by_id[function.app]
    held = tuple(ev.Held(str(key), int(attempt)) for key, attempt in header["holding"])
    # The answer must be the first frame; the inputs that the core may send come behind it.
    asyncio.get_running_loop().call_soon(parts.controller.handle, ev.ContainerReady(container.id, held))
    answer = {
        "function": function.definition["spec"],
        "functions": {name: {"id": id_} for name, id_ in app.functions.items()},
        "app": app.id,
    }
    return answer, function.serialized


def outputs(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Inputs have ended."""
    container = _container(parts, channel)
    arrived: dict[str, Output] = {}
    ended: list[ev.Output] = []
    start = 0
    for key, attempt, status, run_s, size, blob in header["outputs"]:
        arrived[key] = Output(status, payload[start : start + size], blob)
        ended.append(ev.Output(key, attempt, status in (SUCCESS, GENERATOR_DONE), run_s))
        start += size
    parts.deliveries.arrive(container, header["seq"], arrived)
    parts.controller.handle(ev.OutputsArrived(container.id, tuple(ended)))
    parts.deliveries.settle()
    return None


def taken(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Inputs were given back unstarted."""
    container = _container(parts, channel)
    parts.controller.handle(ev.InputsTakenBack(container.id, tuple(header["keys"])))
    return None


def failed(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """The function could not be loaded."""
    container = _container(parts, channel)
    message = f"the function could not be loaded in container {container.id}"
    parts.fleet.start_errors[message] = Output(header["status"], payload, None)
    parts.controller.handle(ev.StartFailed(container.id, message))
    parts.deliveries.settle()
    return None


def piece(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A generator made something; its caller's credit is the generator's window."""
    container = _container(parts, channel)
    call_id, _ = split_key(header["key"])
    call = parts.deliveries.calls.get(call_id)
    if call is not None and call.channel is not None and call.container == container.id:
        call.channel.send({"t": "call.piece", "call": call_id, "piece": header["piece"], "end": header["end"]}, payload)
    return None


HANDLERS = {
    "agent.hello": hello,
    "agent.outputs": outputs,
    "agent.taken": taken,
    "agent.failed": failed,
    "agent.piece": piece,
}

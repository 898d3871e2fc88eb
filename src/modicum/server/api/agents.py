"""What agents in containers say. A container is known by its socket: it speaks of itself alone."""

from __future__ import annotations

import asyncio
import time

from modicum.server.api.calls import resume_pieces
from modicum.server.api.fields import cut, input_key, patience, value_blob, whole
from modicum.server.core import events as ev
from modicum.server.parts import Parts
from modicum.server.records import Container, Function, Output, Sent, split_key
from modicum.server.specs import agent_spec
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header
from modicum.wire.messages import AHEAD_BYTES, AHEAD_PIECES, EXCEPTION, GENERATOR_DONE, INTERNAL, SUCCESS

RUN_S_MAX = 1e7

STATUSES = frozenset({SUCCESS, GENERATOR_DONE, EXCEPTION, INTERNAL})
"""How inputs end in a container; all else the server says itself."""

WHY_CHARS_MAX = 240

PIECE_BYTES = 1024
"""What a piece of a generator takes beside its payload, about."""

AHEAD_BYTES_MAX = 4 * (AHEAD_BYTES + AHEAD_PIECES * PIECE_BYTES)
"""An agent keeps to a window of a quarter of this, and sends it twice around a lost connection. What is not read stays
in our memory, and hostile code keeps to nothing."""


def _container(parts: Parts, channel: Channel) -> Container:
    container = parts.fleet.containers.get(channel.name)
    if container is None or container.channel is not channel:
        raise RemoteFailure("conflict", "this container is not expected to speak here")
    _settle_in(parts, container)
    return container


def _settle_in(parts: Parts, container: Container) -> None:
    """Let the core know of an agent's hello, once."""
    ready, container.ready = container.ready, None
    if ready is None:
        return
    container.held = frozenset(held.key for held in ready.held)
    parts.controller.handle(ready)
    parts.fleet.changed()
    for key in container.held:
        call = parts.deliveries.calls.get(split_key(key)[0])
        if call is not None:
            resume_pieces(parts, call)


def hello(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """An agent is there, a first time or again. It loads the function next, unless it has."""
    container = parts.fleet.containers.get(channel.name)
    if container is None:
        asyncio.get_running_loop().call_soon(channel.close)  # behind the answer
        raise RemoteFailure("not_found", "this container is not known")
    function = parts.fleet.functions.get(container.function)
    if function is not None and container.made_of is not None:
        function = container.made_of  # a later version has been published since it was started
    if function is None:
        parts.fleet.kill(container.id, "its function is gone")
        raise RemoteFailure("not_found", "this container's function is gone")
    container.channel = channel
    container.unacknowledged.clear()
    held = tuple(
        ev.Held(key, whole(attempt))
        for key, attempt in header["holding"]
        if input_key(key) and parts.deliveries.may_hold(key, container.function)
    )
    # The answer must be the first frame; the inputs that the core may send come behind it. What the agent has sent
    # behind its hello is looked at after it, too.
    container.ready = ev.ContainerReady(container.id, held, bool(header.get("loaded", True)))
    asyncio.get_running_loop().call_soon(_settle_in, parts, container)
    app = parts.apps.by_id.get(function.app)
    answer = {
        "function": agent_spec(function),
        "restricted": container.restricted,
        "parameters": function.definition.get("parameters"),
        "functions": {} if container.restricted else _callables(parts, function),
        "app": function.app,
        "logs_errors": app is not None and app.deployed,
        "code": len(function.serialized),
        "interactive": _term(parts, function.app),
    }
    return answer, function.serialized[:PAYLOAD_BYTES_MAX]


def _callables(parts: Parts, function: Function) -> dict[str, dict[str, str]]:
    return {name: _callable(each) for name, each in parts.apps.callable_from(function).items()}


def _term(parts: Parts, app: str) -> str | None:
    """Return the kind of terminal that an app's functions may use, None if they have none."""
    terminal = parts.execs.terminal_of(app)
    return None if terminal is None else str(terminal["term"])


def _callable(function: Function) -> dict[str, str]:
    """Return what a container needs to know of a function that it may call."""
    spec = function.definition["spec"]
    return {"id": function.id, "module": spec["module"], "qualname": spec["qualname"]}


def code(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give a part of the container's serialized function."""
    container = _container(parts, channel)
    offset = whole(header["offset"])
    function = container.made_of or parts.fleet.functions[container.function]
    return {}, function.serialized[offset : offset + PAYLOAD_BYTES_MAX]


def loaded(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """The function is loaded there: inputs may come."""
    container = _container(parts, channel)
    parts.controller.handle(ev.ContainerLoaded(container.id))
    if container.started_at is not None:
        parts.history.container_loaded(container.function, time.time() - container.started_at)
    return None


def outputs(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Inputs have ended. What they printed is on its way through the node: it comes first."""
    container = _container(parts, channel)
    arrived, ended = _outputs(header, payload, container.plain)
    sent = parts.deliveries.announce(container, whole(header["seq"]))
    if header.get("printed") or container.flushing is not None:
        after = _after_output(parts, container, container.flushing, sent, arrived, ended)
        container.flushing = asyncio.ensure_future(after)  # its parent is the container's record
    else:
        _take_in(parts, container, sent, arrived, ended)
    return None


def _outputs(header: Header, payload: bytes, plain: bool) -> tuple[dict[str, Output], tuple[ev.Output, ...]]:
    arrived: dict[str, Output] = {}
    ended: list[ev.Output] = []
    values = cut(payload, [entry[4] for entry in header["outputs"]])
    for (key, attempt, status, run_s, _, blob), value in zip(header["outputs"], values):
        if status not in STATUSES:
            raise ValueError(f"an agent cannot know of an input that it ended as {status!r}")
        took_s = patience(run_s, RUN_S_MAX)
        arrived[key] = Output(status, value, value_blob(blob), run_s=took_s, plain=plain)
        ended.append(ev.Output(key, attempt, status != EXCEPTION, took_s))
    return arrived, tuple(ended)


async def _after_output(
    parts: Parts,
    container: Container,
    earlier: asyncio.Task[None] | None,
    sent: Sent,
    arrived: dict[str, Output],
    ended: tuple[ev.Output, ...],
) -> None:
    """Take outputs in when what they printed is in the log, and after those that came before them."""
    if earlier is not None:
        await earlier
    await parts.fleet.flush_output(container)
    if container.flushing is asyncio.current_task():
        container.flushing = None
    _take_in(parts, container, sent, arrived, ended)


def _take_in(
    parts: Parts, container: Container, sent: Sent, arrived: dict[str, Output], ended: tuple[ev.Output, ...]
) -> None:
    parts.deliveries.arrive(sent, arrived)
    parts.controller.handle(ev.OutputsArrived(container.id, ended))
    parts.deliveries.settle()


def taken(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Inputs were given back unstarted."""
    container = _container(parts, channel)
    parts.controller.handle(ev.InputsTakenBack(container.id, tuple(map(str, header["keys"]))))
    return None


def failed(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """The function could not be loaded."""
    container = _container(parts, channel)
    why = " ".join(str(header.get("why", "")).split())[:WHY_CHARS_MAX]
    message = f"its function could not be loaded: {why}" if why else "its function could not be loaded"
    container.failed = True
    parts.fleet.start_errors[message] = Output(EXCEPTION, payload, None, plain=container.plain)
    parts.controller.handle(ev.StartFailed(container.id, message))
    parts.fleet.start_errors.pop(message, None)
    parts.deliveries.settle()
    return None


def piece(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A generator made something; its caller's credit is the generator's window."""
    container = _container(parts, channel)
    call_id, _ = split_key(header["key"])
    fields = {
        "piece": whole(header["piece"]),
        "end": bool(header["end"]),
        **({"plain": True} if container.plain else {}),
    }
    call = parts.deliveries.calls.get(call_id)
    if call is not None and call.channel is not None and call.container == container.id:
        call.begun = True
        call.ahead += len(payload) + PIECE_BYTES
        if call.ahead > AHEAD_BYTES_MAX:
            parts.fleet.kill(container.id, "a generator sent more than its reader takes")
            return None
        call.channel.send({"t": "call.piece", "call": call_id, **fields}, payload)
    return None


HANDLERS = {
    "agent.hello": hello,
    "agent.code": code,
    "agent.loaded": loaded,
    "agent.outputs": outputs,
    "agent.taken": taken,
    "agent.failed": failed,
    "agent.piece": piece,
}

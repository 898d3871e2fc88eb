"""What users, nodes and agents say of commands in containers, and of interactions with functions."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from modicum.server.api.fields import whole
from modicum.server.execs import KILLED, Session, Terminal, TooMuch
from modicum.server.parts import Parts
from modicum.server.records import Container
from modicum.wire.channel import Answer, Channel, ChannelClosed, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import NODE
from modicum.wire.terminals import CHUNK_BYTES, STREAMS

_ID = re.compile(r"ex-[0-9a-z]{8,40}")
_SIDE_MAX = 10_000
_SIGNAL_MAX = 64
_DETAIL_CHARACTERS_MAX = 1000

ARGUMENTS_BYTES_MAX = 64 * 1024
"""Of a command, its arguments and the variables that it is given besides."""


async def start(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Execute a command in a running container; its input and output go over this connection."""
    session_id, command = _session_id(header["exec"]), _command(header)
    container = await _running(parts, str(header["container"]))
    node = parts.fleet.nodes.get(container.node)
    if node is None:
        raise RemoteFailure("not_found", f"the node of {container.id} is not there")
    session = parts.execs.open(session_id, channel, node, container.id)
    try:
        await node.request({"t": "exec.start", "exec": session_id, "container": container.id, **command})
    except ChannelClosed:
        raise RemoteFailure("not_found", f"the node of {container.id} was lost") from None
    except RemoteFailure:
        parts.execs.abandon(session)  # the node knows nothing of it, and does not mind
        raise
    return None


async def _running(parts: Parts, container: str) -> Container:
    found = parts.fleet.containers.get(container)
    if found is None and not parts.fleet.node_joined.is_set():
        await parts.fleet.any_node()  # a server that has just started does not know yet what runs
        found = parts.fleet.containers.get(container)
    if found is not None and found.starting is not None:
        await asyncio.shield(found.starting)
        found = parts.fleet.containers.get(container)
    if found is None:
        raise RemoteFailure(
            "not_found", f"no container {container} runs; `modicum container list --all` shows those that do and did"
        )
    return found


def _command(header: Header) -> dict[str, Any]:
    """Return what is to be executed. Raises `ValueError`, `TypeError` or `RemoteFailure`."""
    argv, env, cwd, tty = header["argv"], header.get("env") or {}, header.get("cwd"), header.get("tty")
    words = [*argv, *env.keys(), *env.values(), *(() if cwd is None else (cwd,))]
    if not argv or not argv[0] or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ValueError("a command is a list of texts")
    if cwd is not None and not cwd.startswith("/"):
        raise ValueError(f"{cwd!r} is no absolute path")
    if any(not name or "=" in name for name in env):
        raise ValueError("a variable has a name")
    size = sum(len(word.encode("utf-8", "surrogateescape")) for word in words)
    if size > ARGUMENTS_BYTES_MAX:
        raise RemoteFailure("request_size", f"a command has {ARGUMENTS_BYTES_MAX} bytes at most, not {size}")
    return {"argv": list(argv), "env": dict(env), "cwd": cwd, "tty": None if tty is None else _terminal(tty)}


def attach(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Take the interactions of an app's functions on this connection."""
    app = header["app"]
    if app not in parts.apps.by_id:
        raise RemoteFailure("not_found", f"there is no app {app}")
    parts.execs.attach(app, channel, _terminal(header["tty"]))
    return None


async def interact(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A function wants to speak with the user who runs its app."""
    container = parts.fleet.containers.get(channel.name)
    if container is None:
        raise RemoteFailure("conflict", "this container is not expected to speak here")
    session_id, app = _session_id(header["exec"]), container.app
    function = parts.fleet.functions.get(container.function)
    name = "" if function is None else function.name

    def facts() -> Header:
        """Return whose interaction begins, and how far the app's output is to be shown first."""
        return {"function": name, "input": str(header.get("input", "")), "log": [app, parts.logs.end(app)]}

    await parts.fleet.flush_output(container)
    return {"tty": await parts.execs.interact(session_id, app, channel, container.id, facts)}


def relay(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Pass a message on to the other end of its session."""
    session = parts.execs.find(header["exec"], channel)
    if session is None:
        return None
    if len(payload) > CHUNK_BYTES:
        raise ValueError(f"{len(payload)} bytes at once")
    try:
        if channel is session.user:
            _from_user(parts, session, header, payload)
        else:
            _from_far(parts, session, header, payload)
    except TooMuch:
        _hang_up(parts, session, channel)
    return None


def _hang_up(parts: Parts, session: Session, channel: Channel) -> None:
    """This end sends more than it may: it is broken, or hostile. Of a node's, much else depends on its connection."""
    if channel.principal != NODE:
        channel.abort()
        return
    parts.execs.end(session, {"code": KILLED, "detail": "its node sent more than it had credit for"})
    channel.send({"t": "exec.ended", "exec": session.id, "container": session.container})


def _from_user(parts: Parts, session: Session, header: Header, payload: bytes) -> None:
    match header["t"]:
        case "exec.input":
            parts.execs.to_far(session, {"t": "exec.input", "eof": bool(header.get("eof"))}, payload)
        case "exec.resize":
            parts.execs.to_far(session, {"t": "exec.resize", **_size(header)})
        case "exec.signal":
            parts.execs.to_far(session, {"t": "exec.signal", "signal": _signal(header["signal"])})
        case "exec.ack":
            count = min(whole(header["bytes"]), session.output_ahead)
            session.output_ahead -= count
            parts.execs.to_far(session, {"t": "exec.ack", "bytes": count})
        case other:
            raise ValueError(f"{other} comes from the other end")


def _from_far(parts: Parts, session: Session, header: Header, payload: bytes) -> None:
    """Pass on what a node or an agent says. What carries nothing is dropped: no credit would bound it."""
    match header["t"]:
        case "exec.output":
            if header["stream"] not in STREAMS:
                raise ValueError(f"{header['stream']!r} is no stream")
            if payload:
                parts.execs.to_user(session, {"t": "exec.output", "stream": header["stream"]}, payload)
        case "exec.ended":
            parts.execs.end(session, _ending(parts, session, header))
        case "exec.ack":
            count = min(whole(header["bytes"]), session.input_ahead)
            session.input_ahead -= count
            if count:
                parts.execs.to_user(session, {"t": "exec.ack", "bytes": count})
        case other:
            raise ValueError(f"{other} comes from the other end")


def _ending(parts: Parts, session: Session, header: Header) -> Header:
    """Return how it ended. What ended with its container is told why that did."""
    ending: Header = {"code": whole(header["code"])}
    if header.get("signal") is not None:
        ending["signal"] = _signal(header["signal"])
    container = parts.fleet.containers.get(session.container)
    if header.get("gone"):
        why = "" if container is None else container.killed or container.asked
        ending["detail"] = f"its container has ended{f': {why}' if why else ''}"
    elif header.get("detail"):
        ending["detail"] = str(header["detail"])[:_DETAIL_CHARACTERS_MAX]
    return ending


def _session_id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{value!r} is no id of a session")
    return value


def _terminal(value: Any) -> Terminal:
    term = value.get("term") or "xterm"
    if not isinstance(term, str) or not term.isprintable():
        raise ValueError(f"{term!r} is no kind of terminal")
    return {**_size(value), "term": term[:64]}


def _size(value: Any) -> dict[str, int]:
    return {name: min(whole(value[name]), _SIDE_MAX) for name in ("rows", "cols")}


def _signal(value: Any) -> int:
    if not 0 < whole(value) <= _SIGNAL_MAX:
        raise ValueError(f"{value!r} is no signal")
    return int(value)


HANDLERS = {
    "exec.start": start,
    "exec.attach": attach,
    "exec.input": relay,
    "exec.resize": relay,
    "exec.signal": relay,
    "exec.output": relay,
    "exec.ended": relay,
    "exec.ack": relay,
    "agent.interact": interact,
}

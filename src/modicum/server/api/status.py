"""What may be asked of the server itself."""

from __future__ import annotations

import os
from typing import Any

from modicum.server.gpus import devices_of
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel
from modicum.wire.frames import Header
from modicum.wire.messages import USER
from modicum.wire.version import PROTOCOL, build_id


def hello(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell who we are."""
    facts = {"protocol": PROTOCOL, "build": build_id(), "principal": channel.principal}
    return {**facts, "runtime": parts.settings.runtime} if channel.principal == USER else facts


def ping(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Answer."""
    return None


def status(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which processes there are and what runs."""
    engine = parts.engine.status()
    facts = next(iter(parts.fleet.node_facts.values()), {})
    return {
        "pid": os.getpid(),
        "keeper_pid": engine.get("pid"),
        "node_pid": engine.get("node_pid"),
        "socket": str(parts.settings.home / "sock" / "s"),
        "home": str(parts.settings.home),
        "build": build_id(),
        "node_ready": bool(parts.fleet.nodes),
        "runtime": facts.get("runtime"),
        "limits": facts.get("limits"),
        "network": facts.get("network"),
        "gpus": _gpus(parts),
        "gpus_note": facts.get("gpus_note"),
        "failure": parts.engine.failure(),
        "apps": [
            {"id": app.id, "name": app.name, "detached": app.detached, "tags": app.tags}
            for app in parts.apps.by_id.values()
            if not app.draft
        ],
        "containers": [
            {"id": c.id, "app": c.app, "function": parts.fleet.functions[c.function].name}
            for c in parts.fleet.containers.values()
            if c.function in parts.fleet.functions
        ],
    }


def _gpus(parts: Parts) -> list[dict[str, Any]]:
    """Return the GPUs of all nodes by type, and how many of each no container has."""
    held = {(each.node, device) for each in parts.fleet.containers.values() for device in each.devices}
    counts: dict[str, dict[str, Any]] = {}
    for node, facts in parts.fleet.node_facts.items():
        for device in devices_of(facts):
            entry = counts.setdefault(device.type, {"type": device.type, "count": 0, "free": 0})
            entry["count"] += 1
            entry["free"] += (node, device.id) not in held
    return list(counts.values())


def stop(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """End the server, and all that it runs if asked for."""
    if not parts.stop.done():
        parts.stop.set_result(bool(header["all"]))
    return None


HANDLERS = {"hello": hello, "ping": ping, "server.status": status, "server.stop": stop}

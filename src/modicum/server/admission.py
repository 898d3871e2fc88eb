"""What should the user hear of what his function asks for, before it runs?

What does not fit now waits, and the core says for what. What never fits is another matter: CPUs that are not there only
make a container slower, so it gets the whole of the largest machine; without its memory it could not run at all.
"""

from __future__ import annotations

import asyncio

from modicum.server import limits
from modicum.server.core.state import State
from modicum.server.fleet import Fleet
from modicum.server.records import Function
from modicum.server.specs import spec_of

NODE_WAIT_S = 5.0
"""For so long a machine is waited for that has not joined yet: a server that has just started has none."""

_SIZES = ("cpu", "memory", "gpu")


async def remarks(fleet: Fleet, state: State, function: Function) -> list[str]:
    """Return what is to be said of a function that asks for something of a machine; nothing of any other."""
    if not any(function.options.get(name) for name in _SIZES):
        return []
    try:
        async with asyncio.timeout(NODE_WAIT_S):
            await fleet.node_joined.wait()
    except TimeoutError:
        return []
    return [*_about_size(state, function), *_about_limits(fleet, function)]


def _about_size(state: State, function: Function) -> list[str]:
    spec = spec_of(function)
    impossible = state.why_impossible(spec)
    if impossible:
        return [f"calls of {function.name!r} fail: {impossible}"]
    cpus = max((need.cpu_milli / 1000 for need in state.cluster.needs(spec)), default=spec.cpu)
    if cpus >= spec.cpu:
        return []
    asks = f"{function.name!r} asks for {spec.cpu:g} CPUs"
    return [f"{asks}, and no machine has more than {cpus:g}: each of its containers gets a whole one"]


def _about_limits(fleet: Fleet, function: Function) -> list[str]:
    asked = limits.asked(function.options)
    if asked.cpus_limit is None and asked.memory_mib_limit is None:
        return []
    sentences = [facts["limits"] for facts in fleet.node_facts.values()]
    return [f"{each}; functions here may use more" for each in sentences if each.startswith("limits not enforced")]

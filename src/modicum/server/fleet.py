"""Which nodes and containers there are, and how they are spoken to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from modicum.server import gpus, limits
from modicum.server.core import events as ev
from modicum.server.deliveries import Deliveries
from modicum.server.ends import Exit
from modicum.server.links import Links
from modicum.server.records import Container, Function, Output
from modicum.server.settings import Settings
from modicum.wire.channel import Channel, ChannelClosed, RemoteFailure
from modicum.wire.frames import Header, ProtocolError
from modicum.wire.version import build_id

log = logging.getLogger("modicum.fleet")

SOURCE_ROOT = "/root"
AGENT_COMMAND = ["python3", "-S", "/run/modicum-agent/modicum/agent/boot.py", SOURCE_ROOT]
"""How a container begins, behind its image's entrypoint, and where the user's source is in it."""


_ASK_WHY_EVERY_S = 0.5
"""A keeper tells in a file why its node does not come up."""

_UNKNOWN = "`modicum server logs` may say why"


class Fleet:
    """Nodes by name, containers by id."""

    def __init__(self, settings: Settings, links: Links, deliveries: Deliveries) -> None:
        self._settings = settings
        self._links = links
        self._deliveries = deliveries
        self.on_event: Callable[[ev.Event], None] = lambda event: None
        self.on_end: Callable[[Container, ev.ExitReason, str, Exit | None], None] = lambda *end: None
        self.on_gone: Callable[[str, str], None] = lambda container, why: None
        self.image_of: Callable[[str], tuple[list[str], dict[str, Any]]] = lambda image: ([], {})
        self.variables_of: Callable[[Function], dict[str, str]] = lambda function: {}
        self.functions: dict[str, Function] = {}
        self.containers: dict[str, Container] = {}
        self.nodes: dict[str, Channel] = {}
        self.node_facts: dict[str, Header] = {}
        self.node_joined = asyncio.Event()
        self.why_no_node: Callable[[], str] = lambda: ""
        self.start_errors: dict[str, Output] = {}  # by the message under which the core fails inputs for them
        self.owner = 0
        self._moved = asyncio.Event()
        self._killing: set[asyncio.Task[None]] = set()

    # -- nodes ---------------------------------------------------------------------------------------------

    async def node_joins(self, channel: Channel, header: Header) -> None:
        """A node has said hello: take in what it runs, and make it known."""
        if channel in self.nodes.values():
            raise RemoteFailure("conflict", "this node has said hello")
        node = header["node"]
        channel.name = node
        running = header["containers"]
        reported = [_reported(each) for each in running]
        present = {each.container for each in reported}
        for each, entry in zip(reported, running):
            self._adopt(each, node, entry)
        for container in [c for c in self.containers.values() if c.node == node and c.id not in present]:
            self.exited(container.id, ev.ExitReason.NODE_LOST, "its node does not know of it any longer")
        self.nodes[node] = channel
        self.node_facts[node] = header
        memory_mib = header["memory_bytes"] >> 20
        self.on_event(ev.NodeJoined(node, header["cpus"], memory_mib, tuple(reported), gpus.devices_of(header)))
        # The core knows of them before their agents can speak.
        for container in [c for c in self.containers.values() if c.node == node and c.listener is None]:
            if container.id in present:
                await self._listen(container)
        self.node_joined.set()
        log.info("node joined", extra={"node": node, "containers": len(reported)})

    def _adopt(self, reported: ev.Reported, node: str, entry: Header) -> None:
        """Take in a container of an earlier server; what it was kept from then it is kept from still."""
        if reported.container not in self.containers:
            function = self.functions.get(reported.function)
            app = function.app if function is not None else ""
            adopted = Container(reported.container, reported.function, app, node, started_at=entry.get("started_at"))
            adopted.devices = reported.devices
            if function is not None:
                restrict(adopted, function.options)
            adopted.restricted |= bool(entry.get("restricted"))
            adopted.plain |= adopted.restricted or bool(entry.get("plain"))
            self.containers[reported.container] = adopted

    async def _listen(self, container: Container) -> None:
        """Open a container's socket, unless the container has gone meanwhile."""
        listener = await self._links.listen_container(container.id, self.owner, container.restricted)
        if container.id in self.containers:
            container.listener = listener
        else:
            listener.close()
            self._links.remove(container.id)

    def node_leaves(self, channel: Channel) -> None:
        """A node's connection has ended."""
        node = channel.name
        if self.nodes.get(node) is not channel:
            return
        del self.nodes[node], self.node_facts[node]
        if not self.nodes:
            self.node_joined.clear()
        log.warning("node lost", extra={"node": node})
        lost = [each for each in self.containers.values() if each.node == node]
        for container in lost:
            self._remove(container)
        self.on_event(ev.NodeLeft(node, "its node was lost"))
        for container in lost:
            self.on_end(container, ev.ExitReason.NODE_LOST, "its node was lost", None)

    async def any_node(self) -> Channel:
        """Return a node's channel, waiting for one. Raises `RemoteFailure` once it is known why none comes."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.node_wait_s
        while not self.node_joined.is_set():
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + _ASK_WHY_EVERY_S)):
                    await self.node_joined.wait()
            except TimeoutError:
                why = self.why_no_node()
                if why or loop.time() >= deadline:
                    raise RemoteFailure("no_node", f"there is no node to run containers: {why or _UNKNOWN}") from None
        return next(iter(self.nodes.values()))

    @property
    def is_working(self) -> bool:
        """Whether there are containers, or builds that a node was at when it came; their steps are containers, too."""
        return bool(self.containers) or any(facts.get("builds") for facts in self.node_facts.values())

    def name_of(self, function_id: str) -> str:
        """Return a function's name as its users know it, in quotes."""
        function = self.functions.get(function_id)
        return repr(function.name) if function is not None else "its function"

    def app_of(self, function_id: str) -> str | None:
        """Return the app of a function, None if there is no such function."""
        function = self.functions.get(function_id)
        return function.app if function is not None else None

    # -- containers ----------------------------------------------------------------------------------------

    def start(self, container_id: str, function_id: str, node: str, devices: tuple[str, ...] = ()) -> None:
        """Begin to start a container that gets these GPUs; an exit event follows if it cannot be."""
        function = self.functions[function_id]
        began = time.time()
        container = Container(container_id, function_id, function.app, node, started_at=began, made_of=function)
        container.devices = devices
        restrict(container, function.options)
        self.containers[container_id] = container
        # Its parent is the record: it ends by itself, within the node's time to answer.
        container.starting = asyncio.ensure_future(self._start(container, function))

    async def _start(self, container: Container, function: Function) -> None:
        channel = self.nodes.get(container.node)
        if channel is None:
            return  # the node is gone, and that is an event of its own
        try:
            await self._listen(container)
            if container.listener is None:
                return
            spec = self._spec(container, function)
            await channel.request({"t": "container.start", "container": container.id, "spec": spec})
        except ChannelClosed:
            pass  # as above
        except (RemoteFailure, ProtocolError, OSError, KeyError) as failure:
            log.warning("start failed", extra={"container": container.id, "why": str(failure)})
            self.exited(container.id, ev.ExitReason.START_FAILED, str(failure))

    def _spec(self, container: Container, function: Function) -> dict[str, Any]:
        layers, config = self.image_of(function.definition["image"])
        options, facts = function.options, self.node_facts[container.node]
        cpus = facts["cpus"]
        ours = {"IS_REMOTE": "1", "TASK_ID": container.id, "IMAGE_ID": function.definition["image"]}
        reserved = {f"{brand}_{name}": value for brand in ("MODICUM", "MODAL") for name, value in ours.items()}
        return {
            "function": function.id,
            "generation": function.generation,
            "layers": layers[::-1],
            "files": function.definition["files"],
            "env": {
                **limits.thread_variables(options, cpus),
                **config.get("env", {}),
                **self.variables_of(function),
                **reserved,
                "MODICUM_BUILD": build_id(),
            },
            "argv": [*config.get("entrypoint", ()), *AGENT_COMMAND],
            "cwd": config.get("workdir", SOURCE_ROOT),
            "hostname": "modicum",
            "limits": limits.limits(options, cpus),
            "request": {
                **limits.request(options, cpus),
                "gpus": gpus.number_by_type(facts, container.devices),
            },
            "devices": list(container.devices),
            "link": True,
            "network": not function.options.get("block_network"),
            "restricted": container.restricted,
            "plain": container.plain,
        }

    def tell(self, container_id: str, header: Header, payload: bytes = b"") -> None:
        """Send a message to a container's agent. If it is not connected its next hello tells what it has."""
        container = self.containers.get(container_id)
        if container is not None and container.channel is not None:
            container.channel.send(header, payload)

    async def flush_output(self, container: Container) -> None:
        """Return when all that a container has printed up to now is in its app's log, or its node is gone."""
        channel = self.nodes.get(container.node)
        if channel is None:
            return
        try:
            await channel.request({"t": "logs.flush", "containers": [container.id]})
        except (ChannelClosed, RemoteFailure):
            pass  # then there is nothing more to come

    def drain(self, container_id: str, reason: str) -> None:
        """Ask a container to end; the core has it killed if it does not."""
        container = self.containers.get(container_id)
        if container is None:
            return
        log.info("drain", extra={"container": container_id, "why": reason})
        container.draining, container.asked = True, reason
        self.tell(container_id, {"t": "exit"})

    def stop(self, container_id: str, reason: str) -> None:
        """Tell a container to cancel what runs and to end; the core has it killed if it does not."""
        container = self.containers.get(container_id)
        if container is None:
            return
        log.info("stop", extra={"container": container_id, "why": reason})
        container.draining, container.asked = True, reason
        self.tell(container_id, {"t": "exit", "now": True})

    def kill(self, container_id: str, reason: str) -> None:
        """Have a container's node end it at once."""
        container = self.containers.get(container_id)
        channel = self.nodes.get(container.node) if container is not None else None
        if channel is None:
            return  # it went with its node
        log.info("kill", extra={"container": container_id, "why": reason})
        assert container is not None
        container.killed = reason
        killing = asyncio.ensure_future(self._kill(channel, container_id, reason))
        self._killing.add(killing)  # ends with the node's answer, or with its connection
        killing.add_done_callback(self._killing.discard)

    async def _kill(self, channel: Channel, container_id: str, reason: str) -> None:
        try:
            header, _ = await channel.request({"t": "container.kill", "container": container_id, "reason": reason})
        except (ChannelClosed, RemoteFailure):
            return
        if not header["known"]:
            self.exited(container_id, ev.ExitReason.KILLED, "its node does not know of it")

    def exited(self, container_id: str, reason: ev.ExitReason, detail: str, left: Exit | None = None) -> None:
        """A container is gone; `left` is how its process ended, if it had one."""
        container = self.containers.get(container_id)
        if container is None:
            return
        log.info("exited", extra={"container": container_id, "why": f"{reason.value}: {detail}"})
        self._remove(container)
        self.on_gone(container_id, detail)
        self.on_event(ev.ContainerExited(container_id, reason, detail))
        self.on_end(container, reason, detail, left)

    async def wait_change(self) -> None:
        """Return when some container's agent has connected, or some container has gone."""
        await self._moved.wait()

    def changed(self) -> None:
        """Wake who waits for a change."""
        self._moved.set()
        self._moved = asyncio.Event()

    def _remove(self, container: Container) -> None:
        self.containers.pop(container.id, None)
        self.changed()
        if container.channel is not None:
            container.channel.close()
            container.channel = None
        if container.listener is not None:
            container.listener.close()
        self._deliveries.drop_container(container)
        self._links.remove(container.id)

    def sweep_links(self) -> None:
        """Remove the socket directories of containers that no node reported."""
        for container in self._links.containers():
            if container not in self.containers:
                self._links.remove(container)


def restrict(container: Container, options: Mapping[str, Any]) -> None:
    """Note what a function's options keep its container from."""
    container.restricted = bool(options.get("restrict_modal_access"))
    container.plain = container.restricted or bool(options.get("restrict_output"))


def _reported(told: dict[str, Any]) -> ev.Reported:
    """Return a container that a node runs, as the core takes it."""
    return ev.Reported(told["id"], told["function"], told.get("generation", 0), tuple(told.get("devices", ())))

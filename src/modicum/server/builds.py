"""How images are built: planned here, made by a node, once for all who want the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modicum.server.fleet import Fleet
from modicum.server.images.plan import InvalidSteps, Plan, forced_builds, plan
from modicum.server.log_segments import Entry
from modicum.server.logs import Logs
from modicum.stores import queries
from modicum.stores.database import Database
from modicum.wire.channel import ChannelClosed, RemoteFailure
from modicum.wire.frames import ProtocolError
from modicum.wire.version import build_id

log = logging.getLogger("modicum.builds")

ATTEMPTS = 4
"""A build whose node dies is begun again on the next so many times; finished layers are not built twice."""


@dataclass(slots=True)
class _Build:
    """A build under way: who waits for it, and the logs that get its output."""

    finished: asyncio.Future[dict[str, Any]]
    logs: list[str] = field(default_factory=list)


class Builds:
    """Images that there are, and those that are being built."""

    def __init__(self, database: Database, fleet: Fleet, logs: Logs) -> None:
        self._database = database
        self._fleet = fleet
        self._logs = logs
        self._images: dict[str, tuple[list[str], dict[str, Any]]] = {}
        self._layers: set[str] = set()
        self._building: dict[str, _Build] = {}
        self._forced: dict[str, str] = {}
        self.variables_of: Callable[[list[str]], dict[str, str]] = lambda secrets: {}
        self.claim: Callable[[str, list[str]], None] = lambda app, layers: None
        fleet.image_of = self._images.__getitem__

    def restore(self, image: str, layers: list[str], config: dict[str, Any]) -> None:
        """Take in an image that was built before."""
        self._images[image] = layers, config

    def restore_forced(self, forced: dict[str, str]) -> None:
        """Take in which definitions were forced before."""
        self._forced = dict(forced)

    def node_has(self, layers: list[str]) -> None:
        """A node told which layers it has."""
        self._layers = set(layers)

    async def build(self, steps: list[dict[str, Any]], app: str, ignore_cache: bool = False) -> str:
        """Return the image's id once it is built. Raises `RemoteFailure` with the reason if it cannot be.

        What is forced, by a step or by `ignore_cache`, is built once for each app that wants it: images of one app
        share it, and a request that is repeated builds nothing twice. Everybody uses the newest that was forced by a
        step, once it is there.
        """
        try:
            own = forced_builds(steps, app, everything=ignore_cache)
            planned = plan(steps, {**self._forced, **own})
        except InvalidSteps as error:
            raise RemoteFailure("invalid", str(error)) from None
        layers = [layer.id for layer in planned.layers]
        self.claim(app, layers)
        await self._fleet.any_node()  # until it has said hello we do not know which layers there are
        if planned.image not in self._images or not self._layers.issuperset(layers):
            self._images[planned.image] = layers, await self._share(planned, app)
            self._layers.update(layers)
            await self._database.submit(queries.add_image(planned.image, *self._images[planned.image]))
        if own and not ignore_cache:
            self._forced |= own
            await self._database.submit(queries.add_forced(own))
        return planned.image

    async def _share(self, planned: Plan, app: str) -> dict[str, Any]:
        """Build an image, together with whoever builds it already; return its configuration."""
        build = self._building.get(planned.image)
        if build is None:
            build = self._building[planned.image] = _Build(asyncio.get_running_loop().create_future())
        build.logs.append(app)
        try:
            return await self._drive(self._request(planned), build)
        finally:
            build.logs.remove(app)
            if not build.logs:
                await self._release(planned.image, build)

    def _request(self, planned: Plan) -> dict[str, Any]:
        """Return what a node is asked to build."""
        agent = build_id()
        layers = [
            {
                "id": each.id,
                "step": each.step,
                "configured": each.configured,
                "agent": agent,
                "variables": self.variables_of(each.step.get("secrets", [])),
            }
            for each in planned.layers
        ]
        return {"t": "image.build", "build": planned.image, "layers": layers, "configured": planned.configured}

    def images(self) -> dict[str, list[str]]:
        """Return the images that there are, and the layers of each."""
        return {image: layers for image, (layers, _) in self._images.items() if self._layers.issuperset(layers)}

    def forget(self, all_but: set[str]) -> list[str]:
        """All other layers may be gone, and with them images: they are built again when wanted. Return those."""
        self._layers.intersection_update(all_but)
        gone = [image for image, (layers, _) in self._images.items() if not self._layers.issuperset(layers)]
        for image in gone:
            del self._images[image]
        return gone

    async def _drive(self, request: dict[str, Any], build: _Build) -> dict[str, Any]:
        image = request["build"]
        for _ in range(ATTEMPTS):
            node = await self._fleet.any_node()
            lost = asyncio.ensure_future(node.wait_closed())  # ends with this attempt
            try:
                await node.request(request)
                waited: set[asyncio.Future[Any]] = {build.finished, lost}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            except ChannelClosed:
                pass
            except ProtocolError:
                raise RemoteFailure(
                    "invalid", f"the steps of image {image}, with the variables of their secrets, are too large"
                ) from None
            finally:
                lost.cancel()
            if build.finished.done():
                return build.finished.result()
            log.warning("build lost its node", extra={"image": image})
        raise RemoteFailure("image_build", f"image {image} could not be built: its node was lost {ATTEMPTS} times")

    async def _release(self, image: str, build: _Build) -> None:
        self._building.pop(image, None)
        if not build.finished.done():
            build.finished.cancel()
            for node in self._fleet.nodes.values():
                node.send({"t": "image.cancel", "build": image, "r": 0})

    def printed(self, image: str, text: bytes) -> None:
        """A node's build wrote something."""
        build = self._building.get(image)
        for app in set(build.logs) if build is not None else ():
            self._logs.append(app, [Entry("system", image, text)])

    def done(self, image: str, config: dict[str, Any]) -> None:
        """A node has all layers of an image."""
        build = self._building.get(image)
        if build is not None and not build.finished.done():
            build.finished.set_result(config)

    def failed(self, image: str, message: str) -> None:
        """A node could not build a layer."""
        build = self._building.get(image)
        if build is not None and not build.finished.done():
            build.finished.set_exception(RemoteFailure("image_build", message))

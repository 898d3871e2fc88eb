"""How images are built: planned here, made by a node, once for all who want the same."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modicum.server.fleet import Fleet
from modicum.server.images.plan import InvalidSteps, forced_builds, image_id, plan
from modicum.server.logs import Logs
from modicum.stores import queries
from modicum.stores.database import Database
from modicum.wire.channel import ChannelClosed, RemoteFailure

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
        self.claim: Callable[[str, list[str]], None] = lambda app, layers: None
        fleet.image_of = self._images.__getitem__

    def restore(self, image: str, layers: list[str], config: dict[str, Any]) -> None:
        """Take in an image that was built before."""
        self._images[image] = layers, config

    def node_has(self, layers: list[str]) -> None:
        """A node told which layers it has."""
        self._layers = set(layers)

    async def build(self, steps: list[dict[str, Any]], app: str) -> str:
        """Return the image's id once it is built. Raises `RemoteFailure` with the reason if it cannot be."""
        try:
            self._forced.update(forced_builds(steps, os.urandom(8).hex()))
            planned = plan(steps, self._forced)
        except InvalidSteps as error:
            raise RemoteFailure("invalid", str(error)) from None
        image = image_id(planned)
        layers = [layer.id for layer in planned]
        self.claim(app, layers)
        await self._fleet.any_node()  # until it has said hello we do not know which layers there are
        if image in self._images and self._layers.issuperset(layers):
            return image
        build = self._building.get(image)
        if build is None:
            build = self._building[image] = _Build(asyncio.get_running_loop().create_future())
        build.logs.append(app)
        try:
            config = await self._drive(image, [{"id": layer.id, "step": layer.step} for layer in planned], build)
        finally:
            build.logs.remove(app)
            if not build.logs:
                await self._release(image, build)
        self._images[image] = layers, config
        self._layers.update(layers)
        await self._database.submit(queries.add_image(image, layers, config))
        return image

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

    async def _drive(self, image: str, layers: list[dict[str, Any]], build: _Build) -> dict[str, Any]:
        for _ in range(ATTEMPTS):
            node = await self._fleet.any_node()
            lost = asyncio.ensure_future(node.wait_closed())  # ends with this attempt
            try:
                await node.request({"t": "image.build", "build": image, "layers": layers})
                waited: set[asyncio.Future[Any]] = {build.finished, lost}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            except ChannelClosed:
                pass
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
            self._logs.append(app, [("system", image, text)])

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

"""Which images there are, and how those go that no app uses."""

from __future__ import annotations

from modicum.server.parts import Parts
from modicum.stores import queries
from modicum.wire.channel import Answer, Channel, ChannelClosed, RemoteFailure
from modicum.wire.frames import Header


async def list_(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which images there are, and how much room their layers take."""
    answer = await _ask_node(parts, {"t": "layers.list"})
    sizes = dict(answer["layers"])
    used = _used(parts)
    images = [
        {
            "id": image,
            "layers": len(layers),
            "bytes": sum(sizes.get(layer, 0) for layer in layers),
            "in_use": used.issuperset(layers),
        }
        for image, layers in parts.builds.images().items()
    ]
    return {"images": images, "layers": len(sizes), "bytes": sum(sizes.values())}


async def prune(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Remove the layers that no running app uses, or tell which would be.

    The node keeps what its containers and builds use, too. What is to go is forgotten first, so that whoever wants an
    image from now on has it built, behind the removal.
    """
    dry_run = bool(header["dry_run"])
    await parts.fleet.any_node()
    used = _used(parts)
    if dry_run:
        answer = await _ask_node(parts, {"t": "layers.list"})
        removed = {layer: size for layer, size in answer["layers"] if layer not in used}
        gone = [image for image, layers in parts.builds.images().items() if not used.issuperset(layers)]
    else:
        gone = parts.builds.forget(used)
        forgotten = parts.database.submit(queries.remove_images(gone))
        answer = await _ask_node(parts, {"t": "layers.prune", "keep": sorted(used)})
        await forgotten
        removed = dict(answer["removed"])
    return {"images": len(gone), "layers": len(removed), "bytes": sum(removed.values())}


async def _ask_node(parts: Parts, header: Header) -> Header:
    node = await parts.fleet.any_node()
    try:
        answer, _ = await node.request(header)
    except RemoteFailure as failure:
        if failure.code != "unknown_message":
            raise
        message = "the node is of an earlier build and cannot do this; it is replaced after `modicum server stop`"
        raise RemoteFailure("unimplemented", message) from None
    except ChannelClosed:
        raise RemoteFailure("no_node", "the node ended meanwhile; ask again") from None
    return answer


def _used(parts: Parts) -> set[str]:
    """Return the layers of all running apps: what they had built, are made of, or can be rolled back to."""
    used = {layer for app in parts.apps.by_id.values() for layer in app.layers}
    for function in parts.fleet.functions.values():
        layers, _ = parts.fleet.image_of(function.definition["image"])
        used.update(layers)
    there = parts.builds.images()
    for image in {each for app in parts.apps.by_id.values() for each in app.images}:
        used.update(there.get(image, ()))
    return used


HANDLERS = {"image.list": list_, "image.prune": prune}

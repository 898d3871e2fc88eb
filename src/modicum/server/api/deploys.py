"""How apps are deployed, and brought back to what they were."""

from __future__ import annotations

import asyncio
from typing import Any

from modicum.server.api.apps import tag_dict
from modicum.server.api.fields import whole
from modicum.server.api.names import app_of_the_past, state_of
from modicum.server.api.schedules import told
from modicum.server.parts import Parts
from modicum.server.publishing import Author, Published
from modicum.server.records import App
from modicum.server.versions import ROLLING, STRATEGIES
from modicum.stores import versions
from modicum.stores.versions import StoredVersion
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header


def publish(parts: Parts, channel: Channel, header: Header, payload: bytes) -> asyncio.Future[Answer]:
    """Put what was built for a draft in the place of an app's present functions."""
    name, app = header.get("name"), header.get("app")
    if (name is None) == (app is None):
        raise ValueError("a draft is published as the deployed app of a name, or in a running app")
    work = parts.publishing.publish(str(header["draft"]), name, app, _author(header))
    return _whole(parts, work)


async def roll_back(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Publish an earlier version again."""
    number, author = header.get("version"), _author(header)
    app = await _deployed(parts, str(header["app"]))
    return await _whole(parts, parts.publishing.roll_back(app, None if number is None else whole(number), author))


async def roll_over(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Publish the present version again."""
    author = _author(header)
    app = await _deployed(parts, str(header["app"]))
    return await _whole(parts, parts.publishing.roll_over(app, author))


def _whole(parts: Parts, work: Any) -> asyncio.Future[Answer]:
    """Do it to the end: what has been stored must also be put in place, whether or not its caller is there still."""

    async def do() -> Answer:
        published: Published = await work
        app = published.app
        logged = parts.logs.end(app.id)
        return {
            "app": app.id,
            "name": app.name,
            "version": app.version,
            "changed": published.changed,
            "functions": app.functions,
            "schedules": await told(parts, app.functions.values()),
            "logged": logged,
        }

    return asyncio.shield(asyncio.ensure_future(do()))


def _author(header: Header) -> Author:
    strategy = header.get("strategy", ROLLING)
    if strategy not in STRATEGIES:
        raise ValueError(f"{strategy!r} is no strategy")
    words = {name: str(header.get(name) or "")[:200] for name in ("key", "by", "client", "tag")}
    return Author(**words, strategy=strategy)


async def history(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell the versions of an app, the newest first."""
    app = await app_of_the_past(parts, str(header["app"]))
    found = await parts.publishing.history(app.id)
    return {"app": app.id, "name": app.name, "versions": [_told(each) for each in found]}


def _told(version: StoredVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "deployed_at": version.created_at,
        "deployed_by": version.created_by,
        "client": version.client,
        "strategy": version.strategy,
        "origin": version.origin,
        "tag": version.tag,
        "functions": sorted(version.functions),
    }


async def _deployed(parts: Parts, wanted: str) -> App:
    """Return the deployed app of a name or id. Raises `RemoteFailure`."""
    app = await app_of_the_past(parts, wanted)
    if isinstance(app, App) and app.deployed and app.stopping is None:
        return app
    how = {"stopped": "it was stopped", "stopping": "it is being stopped"}.get(state_of(app), f"it is {state_of(app)}")
    raise RemoteFailure("invalid", f"the app {wanted!r} is not deployed, {how}; `modicum deploy` deploys it")


async def tag(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Put tags in the place of those that an app has."""
    app, tags = parts.apps.get(str(header["app"])), tag_dict(header["tags"])
    await parts.database.submit(versions.set_tags(app.id, tags))
    app.tags = tags
    return None


HANDLERS = {
    "app.publish": publish,
    "app.rollback": roll_back,
    "app.rollover": roll_over,
    "app.history": history,
    "app.tag": tag,
}

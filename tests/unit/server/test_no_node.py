"""What is a user told where no container can be started, or where one is less than he expects?"""

from __future__ import annotations

import errno
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from modicum.engines.base import EngineFailure
from modicum.server import main
from modicum.server.api.router import Router
from modicum.server.parts import Parts
from modicum.server.settings import read
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import CANNOT_START
from tests.unit.server.parts import Wire, ask
from tests.unit.server.test_calls import NODE


async def test_why_there_is_no_node_is_told_as_soon_as_it_is_known(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modicum.server.fleet._ASK_WHY_EVERY_S", 0.0)
    answers = iter(["", "", "crun is not installed"])
    parts.fleet.why_no_node = lambda: next(answers)
    with pytest.raises(RemoteFailure, match="there is no node to run containers: crun is not installed"):
        await parts.fleet.any_node()


async def test_an_app_is_told_once_of_no_isolation_and_of_no_network(parts: Parts, router: Router) -> None:
    app = (await ask(router, Wire("user"), {"t": "app.create", "name": "a", "key": "k"}))["app"]
    await ask(router, Wire("node"), {**NODE, "containers": [], "network": "no network for containers: nft is missing"})
    for _ in range(2):
        await parts.apps.warn(app, "No isolation.")
    _, entries, *_ = await parts.logs.read(app, 0, 0)
    text = b"modicum: No isolation.\nmodicum: no network for containers: nft is missing\n"
    assert [entry[:3] for entry in entries] == [("stderr", "modicum", text)]


async def test_an_app_is_told_nothing_where_all_is_well(parts: Parts, router: Router) -> None:
    app = (await ask(router, Wire("user"), {"t": "app.create", "name": "a", "key": "k"}))["app"]
    await ask(router, Wire("node"), {**NODE, "containers": [], "network": "network by slirp4netns"})
    await parts.apps.warn(app, "")
    _, entries, *_ = await parts.logs.read(app, 0, 0)
    assert entries == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/h/x"), "/h/x: No space left on device; make room"),
        (
            OperationalError("", {}, Exception("database or disk is full")),
            "the database: database or disk is full; make",
        ),
        (OSError(errno.EROFS, "Read-only file system", "/h"), "/h: Read-only file system; set MODICUM_HOME"),
        (EngineFailure("containers need ids"), "containers need ids"),
    ],
)
def test_a_server_that_cannot_start_says_what_to_do(error: Any, says: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main._end_with_reason(error)
    assert str(ended.value).startswith(f"{CANNOT_START}{says}")


def test_a_runtime_that_there_is_not() -> None:
    assert read({"MODICUM_RUNTIME": "process"}).runtime == "process"
    with pytest.raises(ValueError, match="MODICUM_RUNTIME='podman' is not one of auto, crun, runc, process"):
        read({"MODICUM_RUNTIME": "podman"})

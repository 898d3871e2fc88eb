"""What does a node say of itself to a server that comes?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modicum.node.gpus.inventory import Inventory
from modicum.node.layout import Layout, prepare
from modicum.node.main import Node
from modicum.node.outfit import Outfit
from modicum.wire.channel import Channel


async def test_it_names_the_builds_that_it_is_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    prepare(layout, (layout.home.stat().st_uid, layout.home.stat().st_gid))
    facts = dict.fromkeys(("launcher", "ground", "runtime", "limits", "network", "pid"), "")
    node = Node(layout, cast("Outfit", SimpleNamespace(**facts)), 1.0, Inventory())
    finish = asyncio.Event()

    async def build(*_: Any) -> None:
        await finish.wait()

    monkeypatch.setattr(node._images, "build", build)
    for image in ("im-2", "im-1", "im-2"):  # a server that takes over asks again
        node._handle(cast("Channel", None), {"t": "image.build", "build": image, "layers": [], "configured": []}, b"")
    assert node._greeting()["builds"] == ["im-1", "im-2"]
    finish.set()
    await asyncio.gather(*node._builds)
    await asyncio.sleep(0)
    assert node._greeting()["builds"] == []

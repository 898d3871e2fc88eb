"""What does a node say of itself to a server that comes, and of its containers every few seconds?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modicum.node import containers, main
from modicum.node.gpus.inventory import Inventory
from modicum.node.layout import Layout, prepare
from modicum.node.main import Node
from modicum.node.outfit import Outfit
from modicum.runtimes.base import Limits, Usage
from modicum.wire.channel import Channel
from modicum.wire.frames import Header


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    layout = Layout(tmp_path)
    prepare(layout, (layout.home.stat().st_uid, layout.home.stat().st_gid))
    facts = dict.fromkeys(("launcher", "ground", "runtime", "limits", "network", "pid"), "")
    return Node(layout, cast("Outfit", SimpleNamespace(**facts)), 1.0, Inventory())


async def test_it_names_the_builds_that_it_is_at(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
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


class Counted:
    """A running container, or one whose usage cannot be read."""

    def __init__(self, usage: Usage | None) -> None:
        self._usage = usage

    async def usage(self) -> Usage:
        if self._usage is None:
            raise OSError("no such file")
        return self._usage


async def test_it_tells_what_its_containers_have_used(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "EVERY_S", 0)
    monkeypatch.setattr(main, "USAGES_PER_FRAME", 2)
    out_of_memory = Usage(1.0, 5, 64 << 20, oom=True)
    for number, usage in enumerate((Usage(1.0, 5, 7), None, out_of_memory, Usage())):
        tracked = containers._Tracked(f"ta-{number}", {}, cast("Any", None))
        tracked.running = cast("Any", Counted(usage))
        tracked.limits = Limits(memory_bytes=64 << 20)
        node._containers._tracked[tracked.id] = tracked
    sent: asyncio.Queue[Header] = asyncio.Queue()
    monkeypatch.setattr(node._link, "send", sent.put_nowait)
    metering = asyncio.ensure_future(node._meter())
    first, second = await sent.get(), await sent.get()
    metering.cancel()
    assert [list(each["containers"]) for each in (first, second)] == [["ta-0", "ta-2"], ["ta-3"]]
    told = first["containers"]
    assert (first["t"], told["ta-0"]["cpu_s"], told["ta-0"]["oom"]) == ("node.usage", 1.0, None)
    assert told["ta-2"]["oom"].startswith("it ran out of memory: limit 64 MiB, peak 64 MiB")
    assert "what ta-1 uses could not be read: OSError('no such file')" in capsys.readouterr().out

"""What the node knows of a container before it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from modicum.node.containers import Containers
from modicum.node.gpus.inventory import Inventory
from modicum.node.layout import Layout
from modicum.runtimes.base import RuntimeFailure
from modicum.wire.channel import RemoteFailure


class Images:
    """Notes which layers are in use when nobody holds those of files any longer."""

    def __init__(self) -> None:
        self.containers: Containers
        self.in_use: list[str] = []

    def path(self, layer_id: str) -> Path:
        return Path("/layers", layer_id)

    @asynccontextmanager
    async def holding_files(self, set_id: str, layers: list[str]) -> AsyncIterator[Path]:
        yield self.path(f"{set_id}-{layers[0]}")
        self.in_use = sorted(self.containers.layers())

    async def ensure_agent(self, layers: list[str], build: str) -> None:
        raise AssertionError


class Launcher:
    async def launch(self, launch: Any) -> Any:
        raise RuntimeFailure(" ".join(map(str, launch.layers)))


async def test_files_are_in_use_before_they_are_let_go(tmp_path: Path) -> None:
    images = Images()
    images.containers = Containers(Layout(tmp_path), Launcher(), images, lambda *_: None, Inventory())  # type: ignore[arg-type]
    with pytest.raises(RemoteFailure, match="/layers/fs-1-im-base /layers/im-top /layers/im-base"):
        await images.containers.start(
            "ta-1", {"layers": ["im-top", "im-base"], "files": ["fs-1"], "env": {}, "argv": ["true"]}
        )
    assert images.in_use == ["fs-1-im-base", "im-base", "im-top"]
    assert images.containers.layers() == []

"""Which layers go, and that those in use stay, whatever comes meanwhile."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum.node.images import pruning
from modicum.node.images.pruning import Pruner, disk_bytes
from modicum.node.images.store import LayerStore
from modicum.node.removal import MountInside, remove_tree
from tests.unit.images.test_builder import BASE, NUMPY, Site
from tests.unit.images.test_store import make


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    made = LayerStore(tmp_path)
    for name in ("la-1", "la-2", "la-3"):
        make(made, name)
    return made


def left(store: LayerStore, home: Path) -> list[str]:
    """Return what is left, on the disk as in the store."""
    on_disk = sorted(path.name for path in (home / "layers").iterdir())
    assert on_disk == store.ids() == sorted(path.stem for path in (home / "records").iterdir())
    assert LayerStore(home).ids() == on_disk
    return on_disk


async def test_what_is_neither_kept_nor_used_goes(store: LayerStore, tmp_path: Path) -> None:
    pruner = Pruner(store, lambda: ["la-2"])
    before = sorted((tmp_path / "tmp").iterdir())
    sizes = dict(await pruner.sizes())
    assert list(sizes) == ["la-1", "la-2", "la-3"]
    assert await pruner.prune(["la-1", "la-unknown"]) == [("la-3", sizes["la-3"])]
    assert left(store, tmp_path) == ["la-1", "la-2"]
    assert sorted((tmp_path / "tmp").iterdir()) == before
    make(store, "la-3", "longer" * 4096)
    assert dict(await pruner.sizes())["la-3"] > sizes["la-3"]


async def test_layers_are_gone_before_anything_else_happens(store: LayerStore) -> None:
    pruning = asyncio.ensure_future(Pruner(store, list).prune([]))
    await asyncio.sleep(0)
    assert store.ids() == []
    assert not store.path("la-1").exists()
    assert len(await pruning) == 3


async def test_a_layer_that_is_made_again_while_the_old_one_is_removed(store: LayerStore, tmp_path: Path) -> None:
    pruning = asyncio.ensure_future(Pruner(store, list).prune([]))
    await asyncio.sleep(0)
    make(store, "la-1", "new")
    await pruning
    assert left(store, tmp_path) == ["la-1"]
    assert (store.path("la-1") / "file").read_text() == "new"


async def test_settling_does_not_bring_back_a_record(store: LayerStore, tmp_path: Path) -> None:
    store.take_out("la-1")
    store.settle()
    assert left(store, tmp_path) == ["la-2", "la-3"]


async def test_a_build_keeps_its_layers_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path)
    store = site.builder._store
    make(store, "im-base", config={"env": {}, "workdir": "/root", "python": "python3"})
    make(store, "im-other")
    site.launcher.gate.clear()
    pruner = site.builder.pruner(list)
    building = asyncio.ensure_future(site.builder.build("im", [BASE, NUMPY]))
    while not site.launcher.running:  # noqa: ASYNC110 - a thread prepares it
        await asyncio.sleep(0)
    assert [layer for layer, _ in await pruner.prune([])] == ["im-other"]
    site.launcher.gate.set()
    await building
    assert sorted(layer for layer, _ in await pruner.prune([])) == ["im-base", "im-numpy"]


async def test_a_running_functions_files_stay_to_its_end(tmp_path: Path) -> None:
    site = Site(tmp_path)
    make(site.builder._store, "im-base", config={"env": {}, "workdir": "/root", "python": "python3"})
    site.launcher.gate.clear()
    shipped = {"arguments": "", "module": "main", "files": site.server.add({"root/main.py": b"x"})}
    step = {"op": "run_function", "function": "f", "timeout": 9, "shipped": shipped}
    building = asyncio.ensure_future(site.builder.build("im", [BASE, {"id": "im-f", "step": step, "agent": "b1"}]))
    while not site.launcher.running:  # noqa: ASYNC110 - a thread prepares it
        await asyncio.sleep(0)
    pruner = site.builder.pruner(list)
    assert await pruner.prune([]) == []
    assert (site.launcher.running[0].launch.layers[0] / "root/main.py").read_text() == "x"
    site.launcher.gate.set()
    await building
    gone = [layer for layer, _ in await pruner.prune(["im-base", "im-f"])]
    assert gone == [site.launcher.running[0].launch.layers[0].name]


async def test_a_file_set_that_goes_as_soon_as_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    store = site.builder._store
    make(store, "im-base")
    add = store.add
    gone: list[Path] = []

    def add_and_lose(layer_id: str, made: Path, config: dict[str, Any]) -> None:
        add(layer_id, made, config)
        if not gone:
            gone.append(store.take_out(layer_id))

    monkeypatch.setattr(store, "add", add_and_lose)
    async with site.builder.holding_files(site.server.add({"root/main.py": b"x"}), ["im-base"]) as folder:
        assert await site.builder.pruner(list).prune(["im-base"]) == []
        assert (folder / "root/main.py").read_text() == "x"
    assert len(gone) == 1


def test_how_much_of_the_disk_a_tree_takes(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    empty = disk_bytes(tmp_path)
    (tmp_path / "below" / "file").write_bytes(b"x" * 100_000)
    with_file = disk_bytes(tmp_path)
    assert with_file - empty >= 100_000
    os.link(tmp_path / "below" / "file", tmp_path / "again")
    os.symlink("/", tmp_path / "link")
    assert disk_bytes(tmp_path) - with_file < 50_000, "one file of two names counts once, and no link is followed"
    assert disk_bytes(tmp_path / "nowhere") == 0


@pytest.fixture
def deep(store: LayerStore) -> Iterator[Path]:
    """Nest directories in a layer until their path is longer than any may be; pytest could not remove them."""
    folder = os.open(store.path("la-2"), os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 255, dir_fd=folder)
        os.close(os.open("file", os.O_CREAT, dir_fd=folder))
        above, folder = folder, os.open("d" * 255, os.O_RDONLY, dir_fd=folder)
        os.close(above)
    os.close(folder)
    yield store.path("la-2")
    remove_tree(store.path("la-2"))


async def test_a_path_that_is_too_long_breaks_nothing(store: LayerStore, tmp_path: Path, deep: Path) -> None:
    pruner = Pruner(store, list)
    before = sorted((tmp_path / "tmp").iterdir())
    sizes = dict(await pruner.sizes())
    assert sizes["la-2"] > sizes["la-1"]
    assert dict(await pruner.prune(["la-1"])).keys() == {"la-2", "la-3"}
    assert left(store, tmp_path) == ["la-1"]
    assert sorted((tmp_path / "tmp").iterdir()) == before


async def test_what_cannot_be_removed_keeps_no_other(
    store: LayerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(tree: Path) -> None:
        if (tree / "file").read_text() == "kept":
            raise MountInside("a mount point")
        remove_tree(tree)

    (store.path("la-1") / "file").write_text("kept")
    monkeypatch.setattr(pruning, "remove_tree", remove)
    with pytest.raises(MountInside):
        await Pruner(store, list).prune([])
    assert [path.read_text() for path in (tmp_path / "tmp").rglob("file")] == ["kept"]

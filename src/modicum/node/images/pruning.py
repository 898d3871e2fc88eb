"""Which layers does nobody need any longer, how much room do they take, and how do they go?

A layer is taken out of the store from one instant to the next, by renaming, and removed afterwards: a build or a start
that comes meanwhile finds it missing, never half removed.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from modicum.node.removal import remove_tree

from .store import LayerStore

_BLOCK_BYTES = 512  # of st_blocks, whatever the file system


class Pruner:
    """Measures and removes layers; those that `in_use` names at that moment stay."""

    def __init__(self, store: LayerStore, in_use: Callable[[], Iterable[str]]) -> None:
        self._store = store
        self._in_use = in_use
        self._sizes: dict[str, int] = {}

    async def sizes(self) -> list[tuple[str, int]]:
        """Return each layer with the bytes that it takes on the disk."""
        return await self._measured(self._store.ids())

    async def prune(self, keep: Iterable[str]) -> list[tuple[str, int]]:
        """Remove all layers but those to `keep` and those in use; return what has gone, with its bytes.

        All of them are out of the store before anything else can happen in the event loop.
        """
        staying = {*keep, *self._in_use()}
        aside = {layer: self._store.take_out(layer) for layer in self._store.ids() if layer not in staying}
        for layer in aside:
            self._sizes.pop(layer, None)
        return await asyncio.to_thread(_remove_all, aside)

    async def _measured(self, layers: list[str]) -> list[tuple[str, int]]:
        unknown = [(layer, self._store.path(layer)) for layer in layers if layer not in self._sizes]
        self._sizes.update(await asyncio.to_thread(lambda: {layer: disk_bytes(path) for layer, path in unknown}))
        return [(layer, self._sizes[layer]) for layer in layers]


def disk_bytes(top: Path) -> int:
    """Return how much of the disk a tree takes; files with several names in it count once.

    What cannot be looked at does not count: it went meanwhile, or hostile code made its path longer than paths may be.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    waiting = [str(top)]
    while waiting:
        for entry in _entries(waiting.pop()):
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if (facts.st_dev, facts.st_ino) not in seen:
                seen.add((facts.st_dev, facts.st_ino))
                total += facts.st_blocks * _BLOCK_BYTES
            if stat.S_ISDIR(facts.st_mode):
                waiting.append(entry.path)
    return total


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _remove_all(aside: dict[str, Path]) -> list[tuple[str, int]]:
    """Remove these trees, all that can be: what one of them holds up keeps no other. The next start tries again."""
    removed = []
    failures = []
    for layer, tree in aside.items():
        size = disk_bytes(tree)
        try:
            remove_tree(tree)
        except OSError as failure:
            failures.append(failure)
        else:
            removed.append((layer, size))
    if failures:
        raise failures[0]
    return removed

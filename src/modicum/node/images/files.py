"""Which layer is a file set, laid over an image? Made once for all images that it fits in the same way."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple
from pathlib import Path

from modicum.node.removal import remove_tree
from modicum.wire.channel import ChannelClosed, RemoteFailure
from modicum.wire.filesets import BadManifest

from .filesets import BadFileSet, Folder, Server, fetch_entries, lay_out, shared_folders
from .flights import Flights
from .kept import Kept
from .merged import InTheWay, Merged
from .store import LayerStore
from .threads import in_thread

FAILURES = (BadFileSet, BadManifest, InTheWay, RemoteFailure, ChannelClosed)
"""What may go wrong, beside what the disk does: it is no set, it does not fit, or the server does not give it."""

_DIGITS = 16


class FileLayers:
    """The layers of file sets. Belongs to the running event loop."""

    def __init__(self, home: Path, store: LayerStore, server: Server, flights: Flights) -> None:
        self._store = store
        self._server = server
        self._flights = flights
        self._kept = Kept(home, home / "layers")
        self._fitting: dict[tuple[str, str], str] = {}
        self._held: Counter[str] = Counter()

    @asynccontextmanager
    async def holding(self, set_id: str, layers: Sequence[str]) -> AsyncIterator[Path]:
        """Give the directory of the set over the image made of `layers`, the base first.

        No pruning removes it until the end of this. Raises one of `FAILURES`.
        """
        layer_id = await self._ensure((set_id, layers[-1] if layers else ""), layers)
        self._held[layer_id] += 1  # before anything else can happen in the event loop
        try:
            yield self._store.path(layer_id)
        finally:
            self._held -= Counter([layer_id])  # forgets those of 0

    def held(self) -> list[str]:
        """Return the layers that somebody is working with."""
        return list(self._held)

    async def fill(self, set_id: str, layer_id: str, layers: Sequence[str], upper: Path) -> None:
        """Make the files of the set in the empty directory `upper`, to be a layer on `layers`. Raises as `holding`."""
        entries = await fetch_entries(self._server, set_id)
        shared = await in_thread(lambda: shared_folders(entries, self._image(layers)))
        placed = await lay_out(self._server, entries, upper, shared, self._kept)
        await in_thread(lambda: self._kept.add(layer_id, placed))

    async def _ensure(self, fit: tuple[str, str], layers: Sequence[str]) -> str:
        """Return the layer, which is there at this moment: it may have been removed as soon as it was made."""
        while not self._store.has(self._fitting.get(fit, "")):
            await self._flights.join(f"{fit}", lambda _: None, lambda _: self._make(fit, layers))
        return self._fitting[fit]

    async def _make(self, fit: tuple[str, str], layers: Sequence[str]) -> None:
        set_id = fit[0]
        entries = await fetch_entries(self._server, set_id)
        shared = await in_thread(lambda: shared_folders(entries, self._image(layers)))
        layer_id = f"{set_id}{_suffix(shared)}"
        if not self._store.has(layer_id):
            scratch = self._store.scratch()
            try:
                placed = await lay_out(self._server, entries, scratch, shared, self._kept)
                await in_thread(lambda: self._kept.add(layer_id, placed))
                self._store.add(layer_id, scratch, {})
            finally:
                await in_thread(lambda: remove_tree(scratch))
        self._fitting[fit] = layer_id

    def _image(self, layers: Sequence[str]) -> Merged:
        return Merged([self._store.path(layer) for layer in reversed(layers)])


def _suffix(shared: dict[str, Folder]) -> str:
    """Tell apart the layers of a set that fits images in different ways."""
    text = repr(sorted((folder, *astuple(like)) for folder, like in shared.items()))
    return "-" + hashlib.sha256(text.encode("ascii", "backslashreplace")).hexdigest()[:_DIGITS]

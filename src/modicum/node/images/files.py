"""Which layer is a file set, laid over an image? Made once for all images that it fits in the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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

    async def ensure(self, set_id: str, layers: Sequence[str]) -> Path:
        """Return the directory of the set over the image made of `layers`, the base first.

        Raises one of `FAILURES`.
        """
        fit = set_id, layers[-1] if layers else ""
        layer_id = self._fitting.get(fit)
        if layer_id is None or not self._store.has(layer_id):
            await self._flights.join(f"{fit}", lambda _: None, lambda _: self._make(fit, layers))
        return self._store.path(self._fitting[fit])

    async def fill(self, set_id: str, layer_id: str, layers: Sequence[str], upper: Path) -> None:
        """Make the files of the set in the empty directory `upper`, to be a layer on `layers`. Raises as `ensure`."""
        entries = await fetch_entries(self._server, set_id)
        shared = await in_thread(lambda: shared_folders(entries, self._image(layers)))
        placed = await lay_out(self._server, entries, upper, shared, self._kept)
        await in_thread(lambda: self._kept.add(layer_id, placed))

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

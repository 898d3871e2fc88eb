"""How a file set becomes a directory: contents fetched once for all sets, compared with their hashes, and linked.

    contents/<xx>/<sha256>     a content as a file; with an `x` behind it as one that may be executed
    contents/boot              the machine's boot in which they were written; after another they are fetched again,
                               because a machine that loses power may keep their names without their bytes

A container must not find two of its files to be one and the same, so a content is linked to one place of a set only;
other places get copies, and empty files are made anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from modicum.node.removal import remove_tree
from modicum.wire.filesets import BATCH_FILES_MAX, Entry, content_blob, decode, folders, manifest_blob
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Frame, Header

from .merged import InTheWay, Merged
from .threads import in_thread

_AHEAD = 4
"""Frames on their way at once."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class BadFileSet(ValueError):
    """What the server gave is not the file set that was asked for."""


class Server(Protocol):
    """Where manifests and contents come from."""

    async def ask(self, header: Header) -> Frame:
        """Return the answer to a request. Raises `RemoteFailure` or `ChannelClosed`."""

    def fetch(self, blob: str) -> AsyncIterator[bytes]:
        """Yield a blob's bytes. Raises as `ask`."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that a set shares with an image: where it is there, and what it is like."""

    real: str
    mode: int
    uid: int
    gid: int


class FileSets:
    """Lays out file sets. Contents are kept below `home`; the directories made must be on the same file system."""

    def __init__(self, home: Path, server: Server) -> None:
        self._contents = home / "contents"
        self._server = server
        self._contents.mkdir(exist_ok=True)
        boot = _BOOT_ID.read_text()
        written = self._contents / "boot"
        self._leftovers: list[Path] = []
        if not written.exists() or written.read_text() != boot:
            aside = Path(tempfile.mkdtemp(dir=home))
            os.rename(self._contents, aside)
            self._leftovers.append(aside)
            self._contents.mkdir()
            for number in range(256):
                (self._contents / f"{number:02x}").mkdir()
            written.write_text(boot)
        new = self._contents / "new"
        new.mkdir(exist_ok=True)
        for begun in new.iterdir():  # by a node that was killed
            begun.unlink()

    def clear(self) -> None:
        """Remove what is of no use any longer. It may take a while, and nobody needs to wait."""
        while self._leftovers:
            remove_tree(self._leftovers.pop())

    async def entries(self, set_id: str) -> list[Entry]:
        """Fetch a set's manifest. Raises `BadFileSet`, `BadManifest`, or what the server answers."""
        manifest = b"".join([chunk async for chunk in self._server.fetch(manifest_blob(set_id))])
        if hashlib.sha256(manifest).hexdigest() != set_id[3:]:
            raise BadFileSet(f"the manifest of {set_id} is another")
        return await in_thread(lambda: decode(manifest))

    async def lay_out(self, entries: Sequence[Entry], target: Path, shared: Mapping[str, Folder] | None = None) -> None:
        """Make the files of a set below the empty directory `target`; `shared` is what `shared_folders` returned.

        Owners become the node's root, which is the container's. Raises `BadFileSet`, or what the server answers.
        """
        lacking = await in_thread(lambda: self._lacking(entries))
        await self._fetch_all(lacking)
        await in_thread(lambda: self._link_all(entries, target, shared or {}))

    # -- contents ------------------------------------------------------------------------------------------

    def _lacking(self, entries: Sequence[Entry]) -> list[Entry]:
        wanted = {entry[2]: entry for entry in entries if entry[3]}
        have = {name for name in wanted if os.path.exists(self._path(name, False))}
        return [entry for digest, entry in wanted.items() if digest not in have]

    async def _fetch_all(self, lacking: list[Entry]) -> None:
        for large in [entry for entry in lacking if entry[3] > PAYLOAD_BYTES_MAX]:
            await self._fetch_large(large[2], large[3])
        batches = _batches([entry for entry in lacking if entry[3] <= PAYLOAD_BYTES_MAX])
        workers = [asyncio.ensure_future(self._fetch_batches(batches)) for _ in range(_AHEAD)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _fetch_batches(self, batches: Iterator[list[Entry]]) -> None:
        for batch in batches:
            header, payload = await self._server.ask({"t": "files.get", "files": [entry[2] for entry in batch]})
            if header["sizes"] != [entry[3] for entry in batch]:
                raise BadFileSet("the server's contents are not as long as the manifest says")
            await in_thread(lambda: self._keep(batch, payload))  # noqa: B023 - it is done before the next turn

    def _keep(self, batch: list[Entry], payload: bytes) -> None:
        view, start = memoryview(payload), 0
        for _, _, digest, size in batch:
            data = view[start : start + size]
            start += size
            if hashlib.sha256(data).hexdigest() != digest:
                raise BadFileSet(f"the server's content {digest} is another")
            new = f"{self._contents}/new/{digest}.{os.urandom(4).hex()}"
            with _renamed(new, self._path(digest, False)) as file:
                file.write(data)

    async def _fetch_large(self, digest: str, size: int) -> None:
        found, received = hashlib.sha256(), 0

        def take(chunk: bytes) -> None:
            found.update(chunk)
            file.write(chunk)

        new = f"{self._contents}/new/{digest}.{os.urandom(4).hex()}"
        with _renamed(new, self._path(digest, False)) as file:
            async for chunk in self._server.fetch(content_blob(digest)):
                await in_thread(lambda: take(chunk))  # noqa: B023 - it is done before the next turn
                received += len(chunk)
            if (received, found.hexdigest()) != (size, digest):
                raise BadFileSet(f"the server's content {digest} is another")

    def _path(self, digest: str, executable: bool) -> str:
        return f"{self._contents}/{digest[:2]}/{digest}{'x' if executable else ''}"

    # -- places --------------------------------------------------------------------------------------------

    def _link_all(self, entries: Sequence[Entry], target: Path, shared: Mapping[str, Folder]) -> None:
        real = {"": os.fspath(target)}
        for folder in folders(entries):
            real[folder] = _make_folder(target, folder, shared, real)
        linked: set[str] = set()
        for path, executable, digest, size in entries:
            folder, _, name = path.rpartition("/")
            place = f"{real[folder]}/{name}"
            try:
                if size == 0:
                    os.close(_create(place, executable))
                elif digest in linked:
                    _copy(self._path(digest, False), place, executable)
                else:
                    linked.add(digest)
                    self._link(digest, executable, place)
            except FileExistsError:
                raise InTheWay(f"by the image's links, /{path} and another file go to the same place") from None
        for like in shared.values():  # last: a directory may let nobody write
            os.chown(target / like.real, like.uid, like.gid)
            os.chmod(target / like.real, like.mode)

    def _link(self, digest: str, executable: bool, place: str) -> None:
        kept = self._path(digest, executable)
        if executable and not os.path.exists(kept):
            new = f"{self._contents}/new/{digest}.{os.urandom(4).hex()}"
            _copy(self._path(digest, False), new, executable)
            os.rename(new, kept)
        try:
            os.link(kept, place)
        except FileExistsError:
            raise
        except OSError:  # it has as many links as the file system counts, or this one has none
            _copy(kept, place, executable)


def shared_folders(entries: Sequence[Entry], image: Merged) -> dict[str, Folder]:
    """Return those directories of a set that an image has too, unless they are just as the set would make them.

    What a link leads to gets the files, and a directory keeps its owner and its mode: laid over an image, a set changes
    nothing but its files. Raises `InTheWay` if the image has a directory where the set has a file, or the reverse.
    """
    found: dict[str, Folder] = {}
    absent: set[str] = set()
    for folder in folders(entries):
        parent = folder.rpartition("/")[0]
        if parent in absent:
            absent.add(folder)
            continue
        real, state = image.folder(folder)
        if state is None:
            absent.add(folder)
            state_like = (0o755, 0, 0)
        else:
            state_like = (state.st_mode & 0o7777, state.st_uid, state.st_gid)
        if real != folder or state_like != (0o755, 0, 0):
            found[folder] = Folder(real, *state_like)
    for path, *_ in entries:
        folder, _, name = path.rpartition("/")
        place = f"{found[folder].real}/{name}" if folder in found else path
        if folder not in absent and image.has_folder(place.removeprefix("/")):
            raise InTheWay(f"the image has a directory at /{place}, where a file is to be")
    return found


def _make_folder(target: Path, folder: str, shared: Mapping[str, Folder], real: Mapping[str, str]) -> str:
    if folder in shared:
        made = target / shared[folder].real
        made.mkdir(parents=True, exist_ok=True)
        return os.fspath(made)
    parent, _, name = folder.rpartition("/")
    path = f"{real[parent]}/{name}"
    os.makedirs(path, exist_ok=True)
    return path


def _copy(source: str, place: str, executable: bool) -> None:
    """Never over a file that is there: it may be another content's."""
    with open(source, "rb") as read, open(_create(place, executable), "wb") as written:
        shutil.copyfileobj(read, written, 1 << 20)


def _create(place: str, executable: bool = False) -> int:
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755 if executable else 0o644)


@contextmanager
def _renamed(new: str, name: str) -> Iterator[BinaryIO]:
    """Make a file that has its name once it is whole, and is not there if it never was."""
    try:
        with open(_create(new), "wb") as file:
            yield file
        os.rename(new, name)
    except BaseException:
        os.unlink(new)
        raise


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Yield as many files at a time as one frame holds."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (size + entry[3] > PAYLOAD_BYTES_MAX or len(batch) == BATCH_FILES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry[3]
    if batch:
        yield batch

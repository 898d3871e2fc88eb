"""Which sets are complete, now and after the machine has lost its power."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from modicum.blobs.contents import LocalContents
from modicum.server.filesets import FileSets
from modicum.wire import filesets


class Store:
    """A home with file sets; `restart` is another server on it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.sets = self.restart("boot-1")

    def restart(self, boot: str) -> FileSets:
        self.sets = FileSets(self._home / "filesets", LocalContents(self._home / "contents"), boot)
        return self.sets

    def add(self, *contents: bytes, without: bytes | None = None) -> str:
        """Send a set's manifest and its contents, all but one."""
        digests = [hashlib.sha256(data).hexdigest() for data in contents]
        manifest = filesets.encode([(f"root/{n}", False, d, len(c)) for n, (c, d) in enumerate(zip(contents, digests))])
        set_id = filesets.set_id(manifest)
        found = [(f"sha-{d}", data) for d, data in zip(digests, contents) if data != without]
        self.sets.contents.add([(filesets.manifest_blob(set_id), manifest), *found])
        return set_id

    def settled(self) -> None:
        """Wait until what was added is said to be on the disk."""
        for thread in threading.enumerate():
            if thread.name == "modicum-settle":
                thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_set_is_complete_once_nothing_is_lacking(store: Store) -> None:
    set_id = store.add(b"a", b"b", without=b"b")
    assert store.sets.lacking(set_id) == b"\0\1"
    assert not store.sets.has(set_id)
    store.add(b"b")
    assert store.sets.lacking(set_id) == b"\0\0"
    assert store.sets.has(set_id)
    assert store.restart("boot-1").has(set_id)


def test_after_a_power_cut_what_had_reached_the_disk_counts(store: Store) -> None:
    settled = store.add(b"a")
    store.sets.lacking(settled)
    store.settled()
    loose = store.add(b"never complete", b"x", without=b"x")
    later = store.add(b"b")
    (store._home / "filesets" / later).write_text("boot-1")  # complete, but not yet on the disk
    assert store.restart("boot-1").has(later)
    after = store.restart("boot-2")
    assert (after.has(settled), after.has(later), after.has(loose)) == (True, False, False)
    assert after.lacking(settled) == b"\0"
    for doubtful in (later, loose):
        with pytest.raises(ValueError, match="is not here"):
            after.lacking(doubtful)


def test_a_set_whose_manifest_is_lost_is_not_complete(store: Store) -> None:
    set_id = store.add(b"a")
    store.sets.lacking(set_id)
    store.settled()
    store.sets.contents.keep_only(set())
    assert not store.restart("boot-1").has(set_id)


@pytest.mark.parametrize("marker", ["", "sett", "settled\0", "\0\0\0\0"])
def test_a_marker_that_is_half_settles_nothing(store: Store, marker: str) -> None:
    set_id = store.add(b"a")
    store.sets.lacking(set_id)
    store.settled()
    assert store.restart("boot-2").has(set_id)
    (store._home / "filesets" / set_id).write_text(marker)
    assert not store.restart("boot-3").has(set_id)
    assert store.add(b"a") == set_id
    assert store.sets.lacking(set_id) == b"\0"


def split(store: Store, data: bytes) -> tuple[str, Path, Path]:
    """Have a settled set of one file; return it, and the packs with its manifest and with its content."""
    set_id = store.add(data, without=data)
    store.add(data)
    store.sets.lacking(set_id)
    store.settled()
    digests = set_id.removeprefix("fs-"), hashlib.sha256(data).hexdigest()
    packs = [store.sets.contents._places[bytes.fromhex(digest)][0] for digest in digests]
    manifest, content = (store._home / "contents" / "packs" / pack for pack in packs)
    return set_id, manifest, content


def test_a_settled_set_with_a_damaged_manifest_is_forgotten(store: Store) -> None:
    damaged, pack, _ = split(store, b"a")
    whole, _, _ = split(store, b"b")
    pack.write_bytes(pack.read_bytes().partition(b"\n")[0] + b"\n")
    after = store.restart("boot-2")
    assert (after.has(damaged), after.has(whole)) == (False, True)
    assert not after.contents.has(filesets.manifest_blob(damaged)), "else nobody could send it again"


def test_a_settled_set_that_lacks_a_content_is_forgotten(store: Store) -> None:
    lacking, _, pack = split(store, b"a")
    whole, _, _ = split(store, b"b")
    pack.unlink()
    after = store.restart("boot-2")
    assert (after.has(lacking), after.has(whole)) == (False, True)


def test_a_marker_without_a_manifest_says_nothing_of_one_that_comes_later(store: Store) -> None:
    set_id, pack, _ = split(store, b"a")
    pack.unlink()
    assert not store.restart("boot-1").has(set_id)
    store.add(b"a", without=b"a")
    assert not store.restart("boot-1").has(set_id)


def test_what_did_not_reach_the_disk_is_not_settled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modicum.server.filesets._sync", lambda folder: False)
    set_id = store.add(b"a")
    store.sets.lacking(set_id)
    store.settled()
    assert store.restart("boot-1").has(set_id)
    assert not store.restart("boot-2").has(set_id)


@pytest.mark.parametrize("set_id", ["", "fs-x", "../x", "sha-" + "0" * 64])
def test_what_is_no_id(store: Store, set_id: str) -> None:
    with pytest.raises(ValueError, match="is no id of a file set"):
        store.sets.lacking(set_id)
    assert not store.sets.has(set_id)

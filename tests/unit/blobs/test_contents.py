"""Contents: compared with their names, many to a pack, there again after a restart."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import threading
from pathlib import Path

import pytest

from modicum.blobs.base import BlobMissing
from modicum.blobs.contents import LocalContents, WrongContent


def named(data: bytes) -> str:
    return f"sha-{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def contents(tmp_path: Path) -> LocalContents:
    return LocalContents(tmp_path, chunk_bytes=4)


def files(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def test_what_came_together_is_one_file(contents: LocalContents, tmp_path: Path) -> None:
    datas = [b"", b"one", b"two", b"one"]
    assert contents.add([(named(data), data) for data in datas]) == []
    assert files(tmp_path) == 1
    for data in datas:
        assert contents.has(named(data))
        assert contents.read(named(data), 0, 100) == (data, len(data))
    assert contents.read(named(b"two"), 1, 1) == (b"w", 3)
    assert contents.read(named(b"two"), 5, 1) == (b"", 3)
    contents.add([(named(b"two"), b"two")])
    assert files(tmp_path) == 1
    assert LocalContents(tmp_path).read(named(b"two"), 0, 100) == (b"two", 3)


def test_what_is_not_what_its_name_says_is_told_and_not_kept(contents: LocalContents) -> None:
    assert contents.add([(named(b"a"), b"a"), (named(b"b"), b"evil"), (named(b"c"), b"c")]) == [1]
    assert contents.lacking([named(data)[4:] for data in (b"a", b"b", b"c")]) == b"\0\1\0"
    with pytest.raises(BlobMissing):
        contents.read(named(b"b"), 0, 1)


def test_a_large_one_comes_in_chunks(contents: LocalContents, tmp_path: Path) -> None:
    blob = named(b"123456")
    assert contents.write(blob, 4, 6, b"56") == 4
    assert not contents.has(blob)
    assert contents.write(blob, 0, 6, b"1234") == 6
    assert contents.write(blob, 0, 6, b"1234") == 6
    assert LocalContents(tmp_path).read(blob, 2, 3) == (b"345", 6)
    assert contents.lacking([blob[4:]]) == b"\0"


def test_a_large_one_that_is_another_leaves_nothing(contents: LocalContents, tmp_path: Path) -> None:
    blob = named(b"123456")
    contents.write(blob, 0, 6, b"1234")
    with pytest.raises(WrongContent, match="is another"):
        contents.write(blob, 4, 6, b"xx")
    assert files(tmp_path) == 0


def test_a_large_one_is_not_swept_while_it_is_written(contents: LocalContents, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = named(b"123456")
    sweeping = threading.Thread(target=contents.sweep, args=(math.inf,))
    take = contents._take

    def take_late(digest: bytes, complete: Path) -> None:
        sweeping.start()
        sweeping.join(0.05)  # it has to wait for the chunk
        take(digest, complete)

    monkeypatch.setattr(contents, "_take", take_late)
    contents.write(blob, 0, 6, b"1234")
    assert contents.write(blob, 4, 6, b"56") == 6
    sweeping.join()
    assert contents.read(blob, 0, 6) == (b"123456", 6)


def test_what_a_kept_set_needs_stays(contents: LocalContents, tmp_path: Path) -> None:
    contents.add([(named(data), data) for data in (b"kept", b"beside")])
    contents.add([(named(b"other"), b"other")])
    contents.write(named(b"12345"), 0, 5, b"1234")
    contents.write(named(b"large"), 0, 5, b"larg")
    contents.write(named(b"large"), 4, 5, b"e")
    contents.keep_only({named(b"kept"), named(b"large")})
    assert contents.has(named(b"kept"))
    assert contents.has(named(b"large"))
    assert not contents.has(named(b"other"))
    assert files(tmp_path) == 2


def test_a_pack_that_was_not_yet_on_the_disk_is_none(contents: LocalContents, tmp_path: Path) -> None:
    contents.add([(named(b"a"), b"a")])
    (pack,) = (tmp_path / "packs").iterdir()
    pack.write_bytes(bytes(10))
    assert not LocalContents(tmp_path).has(named(b"a"))


def test_a_full_disk_leaves_nothing_half(
    contents: LocalContents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        contents.add([(named(b"a"), b"a")])
    assert not contents.has(named(b"a"))
    assert files(tmp_path) == 0


@pytest.mark.parametrize(
    "name", ["", "x", "bl-" + "0" * 64, "sha-" + "0" * 63, "sha-" + "G" * 64, "sha-../" + "0" * 61]
)
def test_names_that_no_content_has(contents: LocalContents, name: str) -> None:
    for attempt in (
        lambda: contents.has(name),
        lambda: contents.read(name, 0, 1),
        lambda: contents.add([(name, b"")]),
        lambda: contents.write(name, 0, 1, b"a"),
    ):
        with pytest.raises(ValueError, match="is no name of a content"):
            attempt()

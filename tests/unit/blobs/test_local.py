"""Blobs of any order of chunks; names that are none."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.blobs.base import BlobMissing
from modicum.blobs.local import LocalBlobs

BLOB = "bl-" + "0" * 24


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs", chunk_bytes=3)


def test_there_when_its_last_byte_is(blobs: LocalBlobs) -> None:
    assert blobs.write(BLOB, 0, 6, b"abc") == 3
    assert not blobs.has(BLOB)
    with pytest.raises(BlobMissing):
        blobs.read(BLOB, 0, 10)
    assert blobs.write(BLOB, 3, 6, b"def") == 6
    assert blobs.has(BLOB)
    assert blobs.read(BLOB, 0, 10) == (b"abcdef", 6)
    assert blobs.read(BLOB, 4, 1) == (b"e", 6)
    assert blobs.read(BLOB, 6, 10) == (b"", 6)


@settings(max_examples=25)
@given(st.binary(max_size=40), st.integers(1, 7), st.randoms())
def test_chunks_in_any_order_and_twice(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int, random: object
) -> None:
    blobs = LocalBlobs(tmp_path_factory.mktemp("blobs"), chunk_bytes=size)
    offsets = list(range(0, max(len(data), 1), size))
    order = offsets + offsets[: len(offsets) // 2]
    random.shuffle(order)  # type: ignore[attr-defined]
    received = [blobs.write(BLOB, offset, len(data), data[offset : offset + size]) for offset in order]
    assert max(received) == len(data)
    assert blobs.read(BLOB, 0, 100) == (data, len(data))


def test_empty_blob(blobs: LocalBlobs) -> None:
    blobs.write(BLOB, 0, 0, b"")
    assert blobs.read(BLOB, 0, 10) == (b"", 0)


def test_the_same_chunk_twice_does_not_make_it_complete(blobs: LocalBlobs) -> None:
    assert blobs.write(BLOB, 0, 6, b"abc") == 3
    assert blobs.write(BLOB, 0, 6, b"abc") == 3
    assert not blobs.has(BLOB)


def test_writing_a_complete_one_again_changes_nothing(blobs: LocalBlobs) -> None:
    blobs.write(BLOB, 0, 1, b"a")
    assert blobs.write(BLOB, 0, 1, b"b") == 1
    assert blobs.read(BLOB, 0, 1) == (b"a", 1)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "../x",
        "bl-" + "0" * 15,
        "bl-" + "0" * 65,
        "bl-" + "g" * 24,
        BLOB + "\n",
        BLOB + "/x",
        "la-" + "0" * 24,
        "sha-" + "0" * 64,
        BLOB.upper(),
    ],
)
def test_names_that_no_blob_has(blobs: LocalBlobs, name: str) -> None:
    for attempt in (
        lambda: blobs.write(name, 0, 1, b"a"),
        lambda: blobs.read(name, 0, 1),
        lambda: blobs.has(name),
        lambda: blobs.delete(name),
    ):
        with pytest.raises(ValueError, match="is no name of a blob"):
            attempt()


@pytest.mark.parametrize(
    ("offset", "total", "chunk"),
    [
        (-1, 5, b"a"),
        (5, 5, b"a"),
        (0, 1, b"ab"),
        (0, -1, b""),
        (1, 0, b""),
        (1, 5, b"ab"),
        (0, 5, b"ab"),
        (0, 1 << 60, b"abc"),
    ],
)
def test_extents_that_cannot_be(blobs: LocalBlobs, offset: int, total: int, chunk: bytes) -> None:
    with pytest.raises(ValueError, match="of a blob of"):
        blobs.write(BLOB, offset, total, chunk)
    assert os.listdir(blobs.folder) == []


def test_a_name_of_its_own_for_each(blobs: LocalBlobs) -> None:
    assert blobs.new() != blobs.new()
    blobs.write(blobs.new(), 0, 0, b"")


def test_delete_takes_the_unfinished_too(blobs: LocalBlobs) -> None:
    blobs.write(BLOB, 0, 4, b"abc")
    blobs.delete(BLOB)
    blobs.delete(BLOB)
    assert os.listdir(blobs.folder) == []
    assert blobs.write(BLOB, 3, 4, b"d") == 3
    assert not blobs.has(BLOB)


def test_sweep_takes_old_ones_that_nobody_names(blobs: LocalBlobs) -> None:
    named, old, young = (f"bl-{n:024x}" for n in range(3))
    for blob in (named, old, young):
        blobs.write(blob, 0, 1, b"a")
    blobs.write(BLOB[:-1] + "f", 0, 4, b"abc")  # unfinished
    for entry in os.scandir(blobs.folder):
        if young not in entry.name:
            os.utime(entry.path, (10, 10))
    blobs.sweep({named}, "bl-", older_than=20)
    assert sorted(os.listdir(blobs.folder)) == sorted([named, young])


def test_sweep_goes_on_where_one_has_just_gone(blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlink(path: str) -> None:
        os.remove(path)
        os.remove(path)

    for _ in range(2):
        blobs.write(blobs.new(), 0, 1, b"a")
    monkeypatch.setattr(os, "unlink", unlink)
    blobs.sweep(set(), "bl-", older_than=math.inf)
    assert os.listdir(blobs.folder) == []


def test_an_upload_that_was_swept_begins_again(blobs: LocalBlobs) -> None:
    blobs.write(BLOB, 0, 4, b"abc")
    blobs.sweep(set(), "bl-", older_than=math.inf)
    assert blobs.write(BLOB, 3, 4, b"d") == 3
    assert not blobs.has(BLOB)
    assert blobs.write(BLOB, 0, 4, b"abc") == 4
    assert blobs.read(BLOB, 0, 4) == (b"abcd", 4)


def test_an_upload_begun_before_a_restart_is_not_taken_for_complete(blobs: LocalBlobs) -> None:
    blobs.write(BLOB, 0, 4, b"abc")
    again = LocalBlobs(blobs.folder, chunk_bytes=3)
    assert again.write(BLOB, 3, 4, b"d") == 3
    assert not again.has(BLOB)
    assert again.write(BLOB, 0, 4, b"abc") == 4
    assert again.read(BLOB, 0, 4) == (b"abcd", 4)


def test_a_chunk_that_does_not_fit_is_not_there(blobs: LocalBlobs) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, hard))  # as on a full disk, the first bytes fit
    try:
        with pytest.raises(OSError, match="too large"):
            blobs.write(BLOB, 0, 3, b"abc")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not blobs.has(BLOB)
    assert blobs.write(BLOB, 0, 3, b"abc") == 3
    assert blobs.read(BLOB, 0, 4) == (b"abc", 3)

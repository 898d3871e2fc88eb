"""Manifests: the same for the same files, and nothing that leads outside gets through."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modicum.wire import filesets
from modicum.wire.filesets import BadManifest, Entry

DIGEST = hashlib.sha256(b"x").hexdigest()


def entry(path: Any, executable: Any = False, digest: Any = DIGEST, size: Any = 1) -> list[Any]:
    return [path, executable, digest, size]


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)


folders = st.lists(names.map("{}-d".format), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(folders, st.booleans(), max_size=8))
def test_what_is_encoded_is_decoded(files: dict[str, bool]) -> None:
    found: list[Entry] = [(f"{folder}/f", executable, DIGEST, 1) for folder, executable in files.items()]
    manifest = filesets.encode(found)
    assert filesets.decode(manifest) == sorted(found)
    assert filesets.encode(reversed(found)) == manifest


def test_a_name_that_is_not_utf8_keeps_its_bytes() -> None:
    name = os.fsdecode(b"caf\xe9")
    ((path, *_),) = filesets.decode(filesets.encode([(f"root/{name}", False, DIGEST, 1)]))
    assert os.fsencode(path) == b"root/caf\xe9"


def test_ids_are_hashes_of_manifests() -> None:
    manifest = filesets.encode([("a", False, DIGEST, 1)])
    digest = hashlib.sha256(manifest).hexdigest()
    assert filesets.set_id(manifest) == f"fs-{digest}"
    assert filesets.manifest_blob(f"fs-{digest}") == f"sha-{digest}"
    for bad in ("fs-", f"im-{digest}", f"fs-{digest}/", f"fs-{digest[:-1]}G", 5, None):
        with pytest.raises(ValueError, match="is no id of a file set"):
            filesets.manifest_blob(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ([entry("/etc/passwd")], "leads outside"),
        ([entry("../x")], "leads outside"),
        ([entry("a/../../x")], "leads outside"),
        ([entry("a/./x")], "leads outside"),
        ([entry("a//x")], "leads outside"),
        ([entry("a/")], "leads outside"),
        ([entry("")], "leads outside"),
        ([entry("..")], "leads outside"),
        ([entry("a\0b")], "is no path"),
        ([entry("\ud800")], "is no path"),
        ([entry(5)], "is no path"),
        ([entry(None)], "is no path"),
        ([entry("n" * 256)], "is too long"),
        ([entry("é" * 128)], "is too long"),
        ([entry("a/" * 2048 + "b")], "is too long"),
        ([entry("b"), entry("a")], "is not sorted"),
        ([entry("a"), entry("a")], "names a file twice"),
        ([entry("a"), entry("a/b")], "'a' is a file and a directory"),
        ([entry("a"), entry("a-b"), entry("a/b/c")], "'a' is a file and a directory"),
        ([entry("a", 1)], "can be said of no file"),
        ([entry("a", False, DIGEST.upper())], "can be said of no file"),
        ([entry("a", False, DIGEST[:-1])], "can be said of no file"),
        ([entry("a", False, DIGEST + "\n")], "can be said of no file"),
        ([entry("a", False, DIGEST, -1)], "can be said of no file"),
        ([entry("a", False, DIGEST, True)], "can be said of no file"),
        ([entry("a", False, DIGEST, 1.0)], "can be said of no file"),
        ([entry("a")[:3]], "is no file"),
        (["a"], "is no file"),
        ({}, "no list"),
        (None, "no list"),
    ],
)
def test_hostile_manifests(listed: Any, text: str) -> None:
    with pytest.raises(BadManifest, match=text):
        filesets.decode(json.dumps(listed).encode())


@pytest.mark.parametrize("manifest", [b"", b"[", b"\xff", b"[" * 100_000])
def test_what_is_no_json(manifest: bytes) -> None:
    with pytest.raises(BadManifest, match="is no JSON"):
        filesets.decode(manifest)


def test_directories_come_behind_their_parents() -> None:
    entries: list[Entry] = [(path, False, DIGEST, 1) for path in ("a/b/c/f", "a/f", "top", "z/f")]
    assert filesets.folders(entries) == ["a", "a/b", "a/b/c", "z"]

"""What is a file set: a list of files for a container, named by what is in it.

    [["root/main.py", false, "9f86d0…", 4], …]        path, whether it is executable, sha256, size

This text, the *manifest*, is the same for the same files everywhere: sorted by path, in ASCII, without spaces. A set's
id is `fs-` and the sha256 of its manifest; a file's content, and a manifest too, is a blob named `sha-` and its sha256.
A path is relative to the container's root. A name that is not UTF-8 keeps its bytes, as `os.fsdecode` writes them.

Whoever gets a manifest from somebody else decodes it with `decode`, which lets nothing through that leads outside.
"""

from __future__ import annotations

import hashlib
import json
import re
from itertools import islice
from operator import ge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Entry = tuple[str, bool, str, int]
    """Path, whether it is executable, sha256 in hexadecimal, size in bytes."""
else:
    Entry = tuple

FILES_MAX = 1 << 19
"""Files in one set. Which of them are lacking is told in one frame, a byte for each."""

MANIFEST_BYTES_MAX = 256 << 20

BATCH_FILES_MAX = 4096
"""Contents in one frame: their digests have to fit into its header."""

_PATH_BYTES_MAX, _NAME_BYTES_MAX = 4096, 255
_SIZE_MAX = 1 << 53
_OUTSIDE = frozenset(("", ".", ".."))
_is_sha256 = re.compile("[0-9a-f]{64}").fullmatch
_is_plain = re.compile("[A-Za-z0-9_/.-]{1,255}").fullmatch


class BadManifest(ValueError):
    """What was given as a manifest describes no set of files; the message says why."""


def encode(entries: Iterable[Entry]) -> bytes:
    """Return the manifest of some files. Raises `BadManifest` if they are too many."""
    listed = sorted(entries)
    if len(listed) > FILES_MAX:
        raise BadManifest(f"{len(listed):,} files are more than the {FILES_MAX:,} that one set may have")
    return json.dumps(listed, separators=(",", ":"), check_circular=False).encode("ascii")


def set_id(manifest: bytes) -> str:
    """Return the id of the set that a manifest describes."""
    return "fs-" + hashlib.sha256(manifest).hexdigest()


def manifest_blob(set_id: str) -> str:
    """Return the name of the blob that is a set's manifest. Raises `ValueError` if this is no id of a set."""
    if not isinstance(set_id, str) or not set_id.startswith("fs-") or not _is_digest(set_id[3:]):
        raise ValueError(f"{set_id!r} is no id of a file set")
    return content_blob(set_id[3:])


def content_blob(digest: str) -> str:
    """Return the name of the blob with this content. Raises `ValueError` if this is no sha256."""
    if not _is_digest(digest):
        raise ValueError(f"{digest!r} is no sha256")
    return f"sha-{digest}"


def decode(manifest: bytes) -> list[Entry]:
    """Return the files of a manifest, sorted by path. Raises `BadManifest` for one that `encode` would not make."""
    if len(manifest) > MANIFEST_BYTES_MAX:
        raise BadManifest(f"a manifest of {len(manifest)} bytes is too large")
    try:
        listed = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"the manifest is no JSON: {error}") from None
    if not isinstance(listed, list) or len(listed) > FILES_MAX:
        raise BadManifest(f"the manifest is no list of at most {FILES_MAX:,} files")
    entries = [_entry(item) for item in listed]
    check(entries)
    return entries


def check(entries: Sequence[Entry]) -> None:
    """Raise `BadManifest` unless these files, sorted by path, can be in one tree."""
    paths = [entry[0] for entry in entries]
    if any(map(ge, paths, islice(paths, 1, None))):
        raise BadManifest("the manifest is not sorted, or names a file twice")
    both = next(iter(set(paths).intersection(folders(entries))), None)
    if both is not None:
        raise BadManifest(f"{_short(both)} is a file and a directory")


def folders(entries: Sequence[Entry]) -> list[str]:
    """Return the directories that the files lie in, each behind its parent."""
    found: dict[str, None] = {}
    for entry in entries:
        _add_parents(entry[0], found)
    return list(found)


def _add_parents(path: str, found: dict[str, None]) -> None:
    parent = path.rpartition("/")[0]
    if parent and parent not in found:
        _add_parents(parent, found)
        found[parent] = None


def _entry(item: Any) -> Entry:
    if not isinstance(item, list) or len(item) != 4:
        raise BadManifest(f"the manifest lists {_short(item)}, which is no file")
    path, executable, digest, size = item
    _check_path(path)
    if type(executable) is not bool or not _is_digest(digest) or type(size) is not int or not 0 <= size < _SIZE_MAX:
        raise BadManifest(f"the manifest says of {_short(path)} what can be said of no file: {_short(item[1:])}")
    return path, executable, digest, size


def _check_path(path: Any) -> None:
    if not isinstance(path, str) or "\0" in path:
        raise BadManifest(f"the manifest names {_short(path)}, which is no path")
    if not _OUTSIDE.isdisjoint(path.split("/")):
        raise BadManifest(f"the manifest names {_short(path)}, which leads outside")
    if _is_plain(path):
        return  # as nearly all are
    try:
        encoded = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadManifest(f"the manifest names {_short(path)}, which is no path") from None
    if len(encoded) > _PATH_BYTES_MAX or any(len(part) > _NAME_BYTES_MAX for part in encoded.split(b"/")):
        raise BadManifest(f"the manifest names {_short(path)}, which is too long")


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and _is_sha256(text) is not None


def _short(value: Any) -> str:
    return repr(value)[:200]

"""How an archive of the user's source becomes a directory, without trusting the archive."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

_DIGITS = 32
"""How many hexadecimal digits of the archive's digest make the layer's id."""


class BadArchive(ValueError):
    """The archive holds something that a source archive never does."""


def check(layer_id: str, digest: str) -> None:
    """See that a layer's id is made of its archive's sha256, which is `digest` in hexadecimal. Raises `BadArchive`."""
    if layer_id != f"la-{digest[:_DIGITS]}":
        raise BadArchive(f"the archive of the layer {layer_id} is another: its sha256 is {digest}")


def extract(archive: Path, target: Path) -> None:
    """Extract a tar of regular files and directories, named relative to the container's root, into `target`.

    Owners become the node's root, which is the container's; modes keep no set-id bits. Raises `BadArchive` for
    anything but files and directories, names that lead outside, and files in place of directories.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _extract_member(tar, member, target)
    except tarfile.TarError as error:
        raise BadArchive(f"the archive cannot be read: {error}") from None


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if member.name.startswith("/") or ".." in parts or "\0" in member.name:
        raise BadArchive(f"the archive names {member.name!r}, which leads outside")
    place = target.joinpath(*parts)
    try:
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
        elif member.isreg():
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(tar, member, place)
        else:
            raise BadArchive(f"the archive holds {member.name!r}, which is neither a file nor a directory")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise BadArchive(f"the archive names {member.name!r} as a file and as a directory") from None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None
    mode = 0o755 if member.mode & 0o100 else 0o644
    with content, open(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "wb") as file:
        while chunk := content.read(1 << 20):
            file.write(chunk)
    os.utime(place, (member.mtime, member.mtime))

"""Which protocol and which build speak here."""

from __future__ import annotations

import os

PROTOCOL = 2
"""Raised whenever a frame of an older peer could be misread."""

_build: str | None = None


def build_id() -> str:
    """Return the content hash (12 hex digits) of the package's own code.

    Two checkouts with the same code have the same build, so a client knows whether a running server is its own.
    Inside a container the server sets `MODICUM_BUILD`, since only part of the package is mounted there.
    """
    global _build
    if _build is None:
        _build = os.environ.get("MODICUM_BUILD") or _hash_package(os.path.dirname(os.path.dirname(__file__)))
    return _build


def _hash_package(root: str) -> str:
    import hashlib  # only a client or a server gets here: a container is told its build

    digest = hashlib.sha256()
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            if name.endswith((".py", ".sh")):
                path = os.path.join(folder, name)
                digest.update(os.path.relpath(path, root).encode() + b"\0")
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()[:12]

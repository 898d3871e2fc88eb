"""Where this client finds its server, and what the environment says."""

from __future__ import annotations

import os


def home() -> str:
    """Return the absolute path of the server's directory: `MODICUM_HOME`, by default `~/.modicum`."""
    chosen = os.environ.get("MODICUM_HOME") or "~/.modicum"
    return os.path.abspath(os.path.expanduser(chosen))


def variable(name: str) -> str | None:
    """Return `MODICUM_<name>`, else `MODAL_<name>`, else None."""
    return os.environ.get(f"MODICUM_{name}") or os.environ.get(f"MODAL_{name}")

"""Where this client finds its server."""

from __future__ import annotations

import os


def home() -> str:
    """Return the absolute path of the server's directory: `MODICUM_HOME`, by default `~/.modicum`."""
    chosen = os.environ.get("MODICUM_HOME") or "~/.modicum"
    return os.path.abspath(os.path.expanduser(chosen))

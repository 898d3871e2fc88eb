"""Where this client finds its server, and how strict it is."""

from __future__ import annotations

import os


def home() -> str:
    """Return the absolute path of the server's directory: `MODICUM_HOME`, by default `~/.modicum`."""
    chosen = os.environ.get("MODICUM_HOME") or "~/.modicum"
    return os.path.abspath(os.path.expanduser(chosen))


def strict_names() -> bool:
    """Return whether older names of the API are refused: `MODICUM_STRICT_NAMES=1`."""
    chosen = os.environ.get("MODICUM_STRICT_NAMES") or os.environ.get("MODAL_STRICT_NAMES") or ""
    return chosen.lower() not in ("", "0", "false", "no")

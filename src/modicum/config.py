"""Where this client finds its server."""

from __future__ import annotations

import os


def home() -> str:
    """Return the absolute path of the server's directory: `MODICUM_HOME`, by default `~/.modicum`."""
    chosen = os.environ.get("MODICUM_HOME") or "~/.modicum"
    return os.path.abspath(os.path.expanduser(chosen))


def flag(name: str) -> bool:
    """Return whether `MODICUM_<name>`, or else `MODAL_<name>`, says yes."""
    value = os.environ.get(f"MODICUM_{name}", os.environ.get(f"MODAL_{name}", ""))
    return value.strip().lower() not in ("", "0", "false", "no", "off")

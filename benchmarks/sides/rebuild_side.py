"""Images of which one step has changed, as a contestant: how long until they are built again."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import modicum

app = modicum.App("rebuild")


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from harness import serve

    base = modicum.Image.debian_slim()

    def packages(names: list[str], installer: str) -> float:
        """Install packages by a step that nobody has seen yet, but whose downloads are cached."""
        changed = {"CHANGED": os.urandom(8).hex()}
        return _built(getattr(base, installer)(*names, env=changed))

    def command() -> float:
        """Run a command that does nothing, by such a step."""
        return _built(base.run_commands(f": {os.urandom(8).hex()}"))

    with app.run():
        serve({"packages": packages, "command": command})


def _built(image: modicum.Image) -> float:
    began_at = time.perf_counter()
    image.build(app)
    return time.perf_counter() - began_at


if __name__ == "__main__":
    main()

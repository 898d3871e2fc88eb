"""A program whose image has a step to be built, which takes a while."""

from __future__ import annotations

import modicum

image = modicum.Image.debian_slim().pip_install("pandas", "scipy", extra_options="--no-cache-dir")
app = modicum.App("builds", image=image)


@app.function()
def never() -> None:
    """Nobody waits for this to run."""

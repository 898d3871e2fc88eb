"""A module that a container cannot import."""

from __future__ import annotations

import modicum

app = modicum.App("broken")

if not modicum.is_local():
    import a_package_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401


@app.function()
def never(x: int) -> int:
    return x

"""The shortest program."""

from __future__ import annotations

import modicum

app = modicum.App("hello")


@app.function()
def hello(name: str = "world") -> str:
    return f"hello, {name}"

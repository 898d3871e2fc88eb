"""An app whose functions run by themselves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import modicum

app = modicum.App("scheduled")


@app.function(
    serialized=True, schedule=modicum.Period(seconds=1), retries=modicum.Retries(max_retries=1, initial_delay=0)
)
def tick(folder: str = os.environ.get("TICKS", "")) -> str:
    """Leave a mark of each attempt; the first of all fails."""
    marks = Path(folder)
    first = not any(marks.iterdir())
    (marks / f"{modicum.current_function_call_id()} {time.time_ns()}").touch()
    if first:
        raise ValueError("the first attempt fails")
    return "ticked"


@app.function(serialized=True, schedule=modicum.Cron("0 9 * * *", timezone="Europe/Berlin"))
def daily(greeting: str = "good morning") -> None:
    print(greeting)

"""How blocking work is awaited by code that may be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread and return its result.

    A thread cannot be stopped, so cancelling waits for its end: nobody cleans up under it. Keep `work` short.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))  # awaited here in every case
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise

"""How builds that need the same layer share the making of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

_REPLAYED_BYTES = 64 * 1024
"""Whoever joins late sees the last of what the others saw."""

_LINE_BYTES_MAX = 64 * 1024

Show = Callable[[bytes], None]


class Flight:
    """One piece of work with any number of audiences. It ends early when the last of them leaves."""

    def __init__(self, work: Callable[[Flight], Coroutine[None, None, None]]) -> None:
        self._audience: list[Show] = []
        self._shown = bytearray()
        self._begun = b""
        self.task = asyncio.create_task(work(self))  # awaited by `Flights.join`, by the last to leave at the latest

    def show(self, data: bytes) -> None:
        """Show output to all who wait, in whole lines: some programs write a line in many pieces."""
        begun = self._begun + data
        end = max(begun.rfind(b"\n"), begun.rfind(b"\r")) + 1
        if len(begun) - end > _LINE_BYTES_MAX:
            end = len(begun)
        self._begun = begun[end:]
        if end:
            self._show_now(begun[:end])

    def finish_line(self) -> None:
        """Show the rest of a last line that did not end."""
        if self._begun:
            self.show(b"\n")

    def tail(self, lines: int) -> str:
        """Return the last lines of what was shown."""
        return "\n".join(self._shown.decode(errors="replace").splitlines()[-lines:])

    def enter(self, show: Show) -> None:
        """Begin to watch."""
        if self._shown:
            show(bytes(self._shown))
        self._audience.append(show)

    def leave(self, show: Show) -> bool:
        """Stop watching; return whether nobody does any longer."""
        self._audience.remove(show)
        return not self._audience

    def _show_now(self, data: bytes) -> None:
        self._shown += data
        del self._shown[:-_REPLAYED_BYTES]
        for show in self._audience:
            show(data)


class Flights:
    """The work in progress, by key."""

    def __init__(self) -> None:
        self._flying: dict[str, Flight] = {}

    async def join(self, key: str, show: Show, work: Callable[[Flight], Coroutine[None, None, None]]) -> None:
        """Do `work`, or wait for the same that is being done already. Raises what it raises.

        Cancelling leaves the work to the others who wait for it, if there are any.
        """
        flight = self._flying.get(key)
        if flight is None:
            flight = self._flying[key] = Flight(work)
        flight.enter(show)
        try:
            await asyncio.wait([flight.task])
        finally:
            if flight.leave(show):
                del self._flying[key]  # whoever comes while this one cleans up begins afresh
                flight.task.cancel()  # nothing happens if it is done
                await asyncio.wait([flight.task])
        flight.task.result()

"""What can be done next on a queue? Decides for its partitions, without a clock and without the store.

Puts that have no room and takes that find nothing wait in their order; nobody is overtaken. `decide` makes of all that
can be done now one piece of work for the store, and counts it as done already; if the store fails, the queue is read
from it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from modicum.stores.queues import Item, Partition, Taken, Work
from modicum.stores.queues import Take as StoredTake

PARTITIONS_MAX = 100_000
ITEMS_MAX = 5000
BYTES_MAX = 64 << 20
"""What a queue, and each of its partitions, holds at most."""

TAKES_TOGETHER_MAX = 64
PUT_TOGETHER_BYTES_MAX = 64 << 20
"""What one transaction reads and writes at most, and with it what is in memory meanwhile: a take may be a MiB."""


class Phase(Enum):
    """Where a request is."""

    WAITING = auto()
    """for room, or for an item"""

    UNDER_WAY = auto()
    """in the store"""

    GIVEN = auto()
    """a take's items are on their way to whoever asked"""

    OVER = auto()


@dataclass(slots=True, eq=False)
class Put:
    """Items that somebody wants to put. `waits`: does he wait for room? `result` resolves once they are stored."""

    request: str
    partition: bytes
    items: Sequence[bytes]
    ttl_s: float
    waits: bool
    result: Any
    phase: Phase = Phase.WAITING

    @property
    def bytes(self) -> int:
        """How much room they take."""
        return sum(map(len, self.items))


@dataclass(slots=True, eq=False)
class Take:
    """What somebody wants to take. `channel` is where he is; what has been given there may yet have to come back."""

    request: str
    partition: bytes
    count: int
    waits: bool
    result: Any
    channel: Any
    phase: Phase = Phase.WAITING
    sizes: list[int] = field(default_factory=list)
    promised: int = 0
    expires_at: float = 0.0


@dataclass(slots=True)
class Line:
    """A partition that has items."""

    count: int
    bytes: int
    expires_at: float


@dataclass(slots=True)
class Decision:
    """Work for the store, who is told once it is done, and who is told at once."""

    work: Work = field(default_factory=Work)
    puts: list[Put] = field(default_factory=list)
    takes: list[Take] = field(default_factory=list)
    returned: list[Take] = field(default_factory=list)
    cleared: list[Any] = field(default_factory=list)
    full: list[tuple[Put, str]] = field(default_factory=list)
    empty: list[Take] = field(default_factory=list)
    put_bytes: int = 0


class QueueLines:
    """The partitions of one queue, and who waits for what in them."""

    def __init__(self, partitions: Sequence[Partition], numbers: Iterator[int]) -> None:
        self.lines = {each.key: Line(each.items, each.bytes, each.expires_at) for each in partitions}
        self._numbers = numbers
        self._puts: dict[bytes, deque[Put]] = {}
        self._takes: dict[bytes, deque[Take]] = {}
        self._clears: list[tuple[bytes, str, Any]] = []
        self._returns: list[Take] = []
        self._stirred: dict[bytes, None] = {}
        self._looked_at: list[bytes] = []

    # -- what comes in ---------------------------------------------------------------------------------------

    def put(self, put: Put) -> None:
        """Somebody wants to put items."""
        self._puts.setdefault(put.partition, deque()).append(put)
        self._stirred[put.partition] = None

    def take(self, take: Take) -> None:
        """Somebody wants items."""
        self._takes.setdefault(take.partition, deque()).append(take)
        self._stirred[take.partition] = None

    def clear(self, partition: bytes, request: str, result: Any) -> None:
        """Somebody wants a partition emptied."""
        self._clears.append((partition, request, result))

    def give_back(self, take: Take) -> None:
        """What was given has not arrived: it comes first again."""
        self._returns.append(take)

    def look(self, partition: bytes) -> None:
        """See whether a partition has expired, of which an item's own time is over."""
        self._looked_at.append(partition)

    def forget(self, request: Put | Take) -> None:
        """Nobody waits any longer for what has not begun; who stood behind moves up."""
        waiting: dict[bytes, deque[Any]] = self._puts if isinstance(request, Put) else self._takes
        line = waiting.get(request.partition)
        if line is not None and request in line:
            line.remove(request)
            self._stirred[request.partition] = None
            if not line:
                del waiting[request.partition]
        request.phase = Phase.OVER

    def everybody(self) -> list[Put | Take]:
        """Return all that wait."""
        waiting: list[Put | Take] = [each for line in self._puts.values() for each in line]
        return [*waiting, *(each for line in self._takes.values() for each in line)]

    def take_over(self, other: QueueLines) -> None:
        """Go on with what waited before the partitions were read again."""
        self._puts, self._takes, self._clears = other._puts, other._takes, other._clears
        self._returns, self._looked_at = other._returns, other._looked_at
        self._stirred = dict.fromkeys([*self._puts, *self._takes])

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits or has to be looked at."""
        return not (self._puts or self._takes or self._clears or self._returns or self._stirred or self._looked_at)

    def count(self, partition: bytes, now: float) -> int:
        """Return how many items a partition has."""
        line = self.lines.get(partition)
        return line.count if line is not None and line.expires_at > now else 0

    def total(self, now: float) -> tuple[int, int]:
        """Return how many partitions have items, and how many items there are."""
        there = [line.count for line in self.lines.values() if line.expires_at > now]
        return len(there), sum(there)

    # -- what is done ----------------------------------------------------------------------------------------

    def decide(self, now: float) -> Decision:
        """Return what is to be done now."""
        made = Decision()
        for partition, request, result in self._clears:
            self._empty(partition, made.work)
            made.work.done.append(request)
            made.cleared.append(result)
        returns, self._returns, self._clears = self._returns, [], []
        for take in returns:
            self._return(take, made, now)
        looked_at, self._looked_at = self._looked_at, []
        for partition in looked_at:
            line = self.lines.get(partition)
            if line is not None and line.expires_at > now:
                made.work.extended.append((partition, line.expires_at))
            else:
                self._empty(partition, made.work)
        stirred, self._stirred = self._stirred, {}
        for partition in stirred:
            self._settle(partition, made, now)
        return made

    def _empty(self, partition: bytes, work: Work) -> None:
        self.lines.pop(partition, None)
        work.cleared.append(partition)
        self._stirred[partition] = None

    def _return(self, take: Take, made: Decision, now: float) -> None:
        take.phase = Phase.OVER
        if take.expires_at <= now:
            made.work.received.append(take.request)
            return
        line = self.lines.setdefault(take.partition, Line(0, 0, take.expires_at))
        line.count += len(take.sizes)
        line.bytes += sum(take.sizes)
        made.work.returned.append(take.request)
        made.returned.append(take)
        self._stirred[take.partition] = None

    def _settle(self, partition: bytes, made: Decision, now: float) -> None:
        line = self.lines.get(partition)
        if line is not None and line.expires_at <= now:
            self._empty(partition, made.work)
            self._stirred.pop(partition, None)
        self._put_what_fits(partition, made, now)
        self._take_what_is_there(partition, made)

    def _put_what_fits(self, partition: bytes, made: Decision, now: float) -> None:
        waiting = self._puts.get(partition)
        while waiting:
            put = waiting[0]
            why = self._why_not(put)
            if why is None and made.work.items and made.put_bytes + put.bytes > PUT_TOGETHER_BYTES_MAX:
                self._stirred[partition] = None  # it has room, but not in this transaction
                return
            if why is None:
                self._admit(put, made, now)
                waiting.popleft()
                continue
            full = [each for each in waiting if not each.waits or "partitions" in why]
            made.full += [(each, why) for each in full]
            remaining = deque(each for each in waiting if each not in full)
            self._puts[partition] = waiting = remaining
            break
        if waiting is not None and not waiting:
            del self._puts[partition]

    def _why_not(self, put: Put) -> str | None:
        line = self.lines.get(put.partition)
        if line is None:
            if len(self.lines) >= PARTITIONS_MAX:
                return f"the queue has {PARTITIONS_MAX:,} partitions, which is the most"
            return None
        if line.count + len(put.items) > ITEMS_MAX:
            return f"the partition has {line.count:,} items of the {ITEMS_MAX:,} that it holds"
        if line.bytes + put.bytes > BYTES_MAX:
            return f"the partition has {line.bytes / 2**20:.1f} MiB of the {BYTES_MAX >> 20} that it holds"
        return None

    def _admit(self, put: Put, made: Decision, now: float) -> None:
        line = self.lines.setdefault(put.partition, Line(0, 0, 0.0))
        line.count += len(put.items)
        line.bytes += put.bytes
        made.put_bytes += put.bytes
        line.expires_at = now + put.ttl_s
        for payload in put.items:
            made.work.items.append(Item(next(self._numbers), put.partition, payload, line.expires_at))
        made.work.done.append(put.request)
        made.puts.append(put)
        put.phase = Phase.UNDER_WAY

    def _take_what_is_there(self, partition: bytes, made: Decision) -> None:
        waiting = self._takes.get(partition)
        line = self.lines.get(partition)
        while waiting:
            if line is None or line.count == 0:
                made.empty += [each for each in waiting if not each.waits]
                remaining = deque(each for each in waiting if each.waits)
                self._takes[partition] = waiting = remaining
                break
            if len(made.takes) >= TAKES_TOGETHER_MAX:
                self._stirred[partition] = None
                return
            take = waiting.popleft()
            take.promised, take.expires_at = min(take.count, line.count), line.expires_at
            line.count -= take.promised
            take.phase = Phase.UNDER_WAY
            made.takes.append(take)
            made.work.takes.append(StoredTake(take.request, partition, take.promised, line.expires_at))
        if waiting is not None and not waiting:
            del self._takes[partition]

    def given(self, take: Take, taken: Taken) -> None:
        """The store has given this: no more than an answer holds, so that more may be left than was counted on."""
        take.sizes = taken.sizes
        take.phase = Phase.GIVEN
        line = self.lines.get(take.partition)
        if line is None:
            return
        line.count += take.promised - len(taken.sizes)
        line.bytes -= sum(taken.sizes)
        if line.count == 0:
            del self.lines[take.partition]
        if take.partition in self._puts or take.partition in self._takes:
            self._stirred[take.partition] = None

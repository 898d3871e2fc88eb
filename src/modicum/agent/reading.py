"""Who reads what the server sends: the thread that would run it, while it has nothing to run, else another.

Handing an input from a reading thread to the one that runs it costs a warm call a sixth of its time. So whoever runs
inputs reads by itself while it is idle. While user code runs longer than a moment, and wherever an answer is awaited,
a thread of its own reads: cancels, pings and requests to give inputs back are answered then, too.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S = 0.005
"""User code that runs so long, or twice so long, has somebody else read."""

TICKS_IDLE = 20
"""So many ticks without anything to run, and the other thread sleeps until there is something again."""


class Reading:
    """`read` takes one message in, however long that takes; it is never called by two threads at once."""

    def __init__(self, read: Callable[[], None]) -> None:
        self._read = read
        self._turn = threading.Lock()  # held by whoever reads
        self._wake = _held_lock()  # released when there is work for the one who waits while the other reads
        self._call = _held_lock()  # released to have the other look at what is to be done
        self._runs: object | None = None
        self._waits = False
        self._reads = False
        self._given = False
        self._wanted = True
        self._asleep = False

    def start(self) -> None:
        """Begin to read; the other thread does until there is something to run."""
        threading.Thread(target=self._help, name="modicum-reader", daemon=True).start()

    def wait(self) -> None:
        """Nothing is to be run: return when something may be. For the one thread that runs inputs, the main one."""
        self._runs = None
        self._waits = True  # before the turn is tried: whoever has it looks at this after he has given it back
        try:
            if self._turn.acquire(blocking=False):
                self._read_here()
            else:
                self._wake.acquire()
        except _Left:
            pass
        finally:
            self._waits = False

    def _read_here(self) -> None:
        self._reads = True
        try:
            self._read()
        finally:
            self._reads = False
            self._turn.release()

    def leave(self) -> None:
        """Have `wait` return though nothing has come. For a signal's handler, which runs on the main thread."""
        if self._reads:
            raise _Left

    def begin(self, run: object) -> None:
        """The thread that calls this runs something from now on, and does not read meanwhile."""
        self._runs = run
        if self._asleep:
            self._asleep = False
            _release(self._call)

    def want(self) -> None:
        """Something is awaited: have the other thread read at once."""
        self._wanted = True
        _release(self._call)

    def give(self) -> None:
        """There is something to run, or nothing will ever be. For `read`."""
        self._given = True
        _release(self._wake)

    def _help(self) -> None:
        while True:
            if self._turn.acquire(blocking=False):
                try:
                    self._read_on()
                finally:
                    self._turn.release()
                if self._waits:
                    _release(self._wake)  # he came for the turn while we had it, and is not to sleep while nobody reads
            self._rest()

    def _read_on(self) -> None:
        """Read until something is given to the one who waits: he reads from then on."""
        self._wanted = False
        while True:
            self._given = False
            self._read()
            if self._given and self._waits:
                return

    def _rest(self) -> None:
        """Return when something is awaited, or one thing has run for a whole tick."""
        seen, idle, asleep = self._runs, 0, False
        while not self._wanted:
            self._call.acquire(timeout=-1 if asleep else TICK_S)
            runs = self._runs
            if runs is not None and runs is seen:
                return
            seen, idle = runs, 0 if runs is not None else idle + 1
            # Whoever begins says so before he looks whether we sleep; we, the other way round.
            self._asleep = idle >= TICKS_IDLE
            if self._runs is not None or self._wanted:
                self._asleep = False
            asleep = self._asleep


class _Left(BaseException):
    """Whoever waited is to look at something else."""


def _held_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


def _release(lock: threading.Lock) -> None:
    try:
        lock.release()
    except RuntimeError:
        pass  # it is free: whoever comes to it goes on at once

"""How a function is debugged: the user's terminal takes the place of its standard streams, until its input has ended.

That begins when user code first reads from stdin, as `pdb`, `code.interact()` and `input()` do, or asks for it by
`modal.interact()`. Nothing of this is loaded unless the app runs in interactive mode.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading

from modicum import _context
from modicum.agent import output
from modicum.agent.terminal import Terminal, Way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from modicum.agent.loop import Agent

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_WAITING = tuple(os.path.join(os.path.dirname(os.__file__), name) for name in ("asyncio/", "selectors", "threading"))


def prepare(agent: Agent, term: str) -> None:
    """Make all ready before the user's module is imported. On the main thread."""
    _lead_session()
    os.environ["TERM"] = term
    debugging = Debugging(agent)
    _context.interact = debugging.begin
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGQUIT, _interrupt)
    signal.signal(signal.SIGHUP, lambda number, frame: None)  # not ignored, which would be inherited
    keyboard: Any = io.BufferedReader(_Keyboard(debugging))
    sys.stdin = io.TextIOWrapper(keyboard, encoding="utf-8", errors="surrogateescape")
    output.at_end = debugging.leave


def _lead_session() -> None:
    """Become the leader of a session, whom alone a terminal can control: no leader of a process group can."""
    if os.getsid(0) != os.getpid():
        os.setpgid(0, os.getpgid(os.getppid()))
        os.setsid()


class Debugging:
    """Which inputs have the terminal now."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._streams = threading.Lock()
        self._terminal: Terminal | None = None
        self._way: Way | None = None
        self._inputs: set[str] = set()
        self._saved: tuple[int, ...] = ()

    def begin(self) -> None:
        """Have the terminal; waits while another container has it. Raises `InvalidError` if there is none."""
        if os.getpid() != self._process:
            return  # a child that was forked has what its parent had
        key = _context.key() or ""
        if self._agent.is_cancelled(key):
            from modicum.agent.endings import interrupted

            raise interrupted()
        with self._lock:
            if self._way is None:
                self._open(key)
            self._inputs.add(key)

    def leave(self, key: str) -> None:
        """An input has ended, or, without a key, all that there was."""
        if not self._inputs or (key and key not in self._inputs):
            return  # without waiting for one that is about to begin
        with self._lock:
            self._inputs = self._inputs - {key} if key else set()
            if self._way is not None and not self._inputs:
                self._close(self._way)

    def _open(self, key: str) -> None:
        _flush()
        way = Way(str(_context.socket_directory), key)
        if self._terminal is None:
            self._terminal = Terminal(self._restore)
        if threading.get_ident() == threading.main_thread().ident:
            signal.signal(signal.SIGINT, _interrupt)  # pdb leaves one of its own
        self._terminal.begin(way)
        self._saved = tuple(os.dup(descriptor) for descriptor in (0, 1, 2))
        for descriptor in (0, 1, 2):
            os.dup2(self._terminal.slave, descriptor)
        output.be_plain(True)
        self._way = way

    def _close(self, way: Way) -> None:
        assert self._terminal is not None
        _flush()
        self._restore()
        self._terminal.end(way)
        if self._terminal.hung_up:
            self._terminal.close()
            self._terminal = None
        self._way = None

    def _restore(self) -> None:
        """Have the streams as they were; also as soon as the user has gone."""
        with self._streams:
            output.be_plain(False)
            for descriptor, saved in enumerate(self._saved):
                os.dup2(saved, descriptor)
                os.close(saved)
            self._saved = ()


class _Keyboard(io.RawIOBase):
    """Descriptor 0. Who reads from it gets the user's terminal first."""

    def __init__(self, debugging: Debugging) -> None:
        self._debugging = debugging

    def readable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        self._debugging.begin()
        return 0

    def readinto(self, buffer: Any) -> int:
        self._debugging.begin()
        try:
            return os.readv(0, [buffer])
        except OSError:
            return 0  # it was hung up


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C on the user's terminal: an exception in his code, if the main thread is in it, never in ours."""
    while frame is not None:
        if not frame.f_code.co_filename.startswith((_OURS, "<frozen", *_WAITING)):
            raise KeyboardInterrupt
        frame = frame.f_back


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # user code may have closed or replaced it

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
from modicum.agent.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from modicum.agent.loop import Agent
    from modicum.wire.frames import Header

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_WAITING = tuple(os.path.join(os.path.dirname(os.__file__), name) for name in ("asyncio/", "selectors", "threading"))

debugging: Debugging | None = None
"""This container's, if its app runs in interactive mode."""


def prepare(agent: Agent, term: str) -> None:
    """Make all ready before the user's module is imported. On the main thread."""
    global debugging
    _lead_session()
    os.environ["TERM"] = term
    debugging = Debugging(agent)
    _context.interactive = True
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGQUIT, _interrupt)
    signal.signal(signal.SIGHUP, lambda number, frame: None)  # not ignored, which would be inherited
    keyboard: Any = io.BufferedReader(_Keyboard(debugging))
    sys.stdin = io.TextIOWrapper(keyboard, encoding="utf-8", errors="surrogateescape")
    output.at_end = debugging.leave


def interact(what: str) -> None:
    """Give user code the terminal at its own request. Raises `InvalidError` where there is none to be had."""
    if debugging is None:
        from modicum.agent.endings import no_terminal

        raise no_terminal(what)
    debugging.begin()


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
        self._terminal: Terminal | None = None
        self._session = ""
        self._inputs: set[str] = set()
        self._saved: tuple[int, ...] = ()
        agent.handle("exec.input", self._on_input)
        agent.handle("exec.resize", self._on_resize)
        agent.handle("exec.ack", self._on_ack)
        agent.handle("exec.ended", self._on_ended)
        agent.on_hello = self._on_hello

    # -- the way to the user -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Have the terminal; waits while another container has it. Raises `InvalidError` if there is none."""
        if os.getpid() != self._process:
            return  # a child that was forked has what its parent had
        key = _context.key() or ""
        if self._agent.is_cancelled(key):
            from modicum.agent.endings import interrupted

            raise interrupted()
        with self._lock:
            if not self._session:
                self._open(key)
            self._inputs.add(key)

    def leave(self, key: str) -> None:
        """An input has ended, or, without a key, all that there was."""
        if not self._inputs or (key and key not in self._inputs):
            return  # without waiting for one that is about to begin
        with self._lock:
            self._inputs = self._inputs - {key} if key else set()
            if self._session and not self._inputs:
                self._close()

    def _open(self, key: str) -> None:
        _flush()
        if self._terminal is None:
            self._terminal = Terminal(self._agent.link)
        # What he types may come before we go on.
        self._session = self._terminal.begin(f"ex-{os.urandom(8).hex()}")
        try:
            tty = self._ask(key)
        except BaseException:
            self._session = ""
            self._terminal.end()
            raise
        self._terminal.resize(tty["rows"], tty["cols"])
        self._saved = tuple(os.dup(descriptor) for descriptor in (0, 1, 2))
        for descriptor in (0, 1, 2):
            os.dup2(self._terminal.slave, descriptor)
        output.be_plain(True)

    def _ask(self, key: str) -> dict[str, int]:
        """Return the size of the user's window, when it is this container's turn."""
        asked: Header = {"t": "agent.interact", "exec": self._session, "input": key}
        try:
            ((answer, _),) = self._agent.link.request(((asked, b""),))
        except BaseException:
            self._tell_end(1)  # nobody waits for it any longer
            raise
        if answer["t"] == "error":
            from modicum.exception import from_code

            raise from_code(answer["code"], answer["message"])
        tty: dict[str, int] = answer["tty"]
        return tty

    def _close(self) -> None:
        assert self._terminal is not None
        _flush()
        self._restore()
        self._terminal.end()
        if self._terminal.hung_up:
            self._terminal.close()
            self._terminal = None
        else:
            self._tell_end(0)
        self._session = ""

    def _tell_end(self, code: int) -> None:
        self._agent.link.send({"t": "exec.ended", "exec": self._session, "code": code})

    def _restore(self) -> None:
        output.be_plain(False)
        for descriptor, saved in enumerate(self._saved):
            os.dup2(saved, descriptor)
            os.close(saved)
        self._saved = ()

    # -- what the server sends, on the reading thread ------------------------------------------------------

    def _on_input(self, header: Header, payload: bytes) -> None:
        if self._terminal is not None and payload:
            self._terminal.type(header["exec"], payload)
        if header.get("eof"):
            self._on_ended(header, b"")

    def _on_resize(self, header: Header, payload: bytes) -> None:
        if self._terminal is not None and header["exec"] == self._session and self._saved:
            self._terminal.resize(header["rows"], header["cols"])

    def _on_ack(self, header: Header, payload: bytes) -> None:
        if self._terminal is not None:
            self._terminal.acknowledge(header["exec"], header["bytes"])

    def _on_ended(self, header: Header, payload: bytes) -> None:
        """The user has gone."""
        if self._terminal is not None and header["exec"] == self._session:
            self._terminal.hang_up()

    def _on_hello(self) -> None:
        """The server that knew the way to him has gone. What is still to begin is asked of the next one."""
        if self._terminal is not None and self._saved:
            self._terminal.hang_up()


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

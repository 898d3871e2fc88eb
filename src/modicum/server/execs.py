"""How the terminal of a user is joined to a process in a container: a relay of frames between two connections.

A session has two ends. One is its *user*; the *far* one is where the process is: a node that has executed it in a
container, or an agent whose own function speaks with the user. Each end is given credit by the other, and this relay
sees to it that neither sends more, so nothing piles up here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modicum.wire.channel import Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.terminals import WINDOW_BYTES

SESSIONS_MAX = 128
"""Each takes up to four descriptors of its node, which may open 1024 where nobody has allowed it more."""

KILLED = 137
"""The exit code of what SIGKILL has ended, as a shell says it."""

Terminal = dict[str, Any]
"""A terminal's rows, cols and term."""


class TooMuch(Exception):
    """An end of a session has sent more than it had credit for."""


@dataclass(slots=True, eq=False)
class Session:
    """A user's conversation with a process in a container."""

    id: str
    user: Channel
    far: Channel
    container: str
    input_ahead: int = 0
    """Bytes that the far end has not acknowledged."""
    output_ahead: int = 0
    """Bytes that the user has not acknowledged."""
    attached: Attached | None = None
    """Whose turn it takes, if an agent began it."""


@dataclass(slots=True, eq=False)
class Attached:
    """A connection that takes the interactions of an app's containers, one after the other."""

    channel: Channel
    terminal: Terminal
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Execs:
    """The sessions that there are, and who takes interactions of which app."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._attached: dict[str, Attached] = {}
        self.on_interaction: Callable[[str, bool], None] = lambda container, is_going_on: None
        """Told when a container begins to wait for its user, and when its interaction is over."""

    # -- how sessions begin --------------------------------------------------------------------------------

    def open(self, session_id: str, user: Channel, far: Channel, container: str) -> Session:
        """Begin a session. Raises `RemoteFailure` if there is one of this id, or too many."""
        if session_id in self._sessions:
            raise RemoteFailure("conflict", f"there is a session {session_id} already")
        if len(self._sessions) >= SESSIONS_MAX:
            raise RemoteFailure("resource_exhausted", f"{SESSIONS_MAX} commands and interactions are going on already")
        session = self._sessions[session_id] = Session(session_id, user, far, container)
        return session

    def attach(self, app: str, channel: Channel, terminal: Terminal) -> None:
        """Have a connection take an app's interactions. Raises `RemoteFailure` if another does."""
        present = self._attached.get(app)
        if present is None or present.channel.closed:
            self._attached[app] = Attached(channel, terminal)
        elif present.channel is channel:
            present.terminal = terminal  # whose turn it is stays
        else:
            raise RemoteFailure("conflict", f"another terminal takes the interactions of {app}")

    def terminal_of(self, app: str) -> Terminal | None:
        """Return the terminal of whoever takes an app's interactions, None if nobody does."""
        attached = self._attached.get(app)
        return None if attached is None else attached.terminal

    async def interact(
        self, session_id: str, app: str, agent: Channel, container: str, facts: Callable[[], Header]
    ) -> Terminal:
        """Begin an interaction of a container's agent once it is its turn; return the user's terminal.

        `facts` is what the user is told then. Raises `RemoteFailure` if nobody takes the app's interactions.
        """
        attached = self._attached.get(app)
        if attached is None:
            raise _not_interactive()
        self.on_interaction(container, True)
        try:
            await attached.turn.acquire()
        except BaseException:
            self.on_interaction(container, False)
            raise
        try:
            if attached.channel.closed:
                raise _not_interactive()
            session = self.open(session_id, attached.channel, agent, container)
        except BaseException:
            attached.turn.release()
            self.on_interaction(container, False)
            raise
        session.attached = attached
        opened = {"t": "exec.opened", "exec": session_id, "container": container, **facts()}
        attached.channel.send(opened)
        return attached.terminal

    # -- what is relayed -----------------------------------------------------------------------------------

    def find(self, session_id: str, channel: Channel) -> Session | None:
        """Return a session of which this connection is an end; None if it has ended. Raises `ValueError` if it is not.

        Frames of both ends may cross its end, so a message about one that is gone is nothing unusual.
        """
        session = self._sessions.get(session_id)
        if session is not None and channel is not session.user and channel is not session.far:
            raise ValueError(f"{session_id} is somebody else's")
        return session

    def to_far(self, session: Session, header: Header, payload: bytes = b"") -> None:
        """Pass a user's message on. Raises `TooMuch`."""
        session.input_ahead += len(payload)
        if session.input_ahead > WINDOW_BYTES:
            raise TooMuch
        session.far.send({**header, "exec": session.id, "container": session.container}, payload)

    def to_user(self, session: Session, header: Header, payload: bytes = b"") -> None:
        """Pass the far end's message on. Raises `TooMuch`."""
        session.output_ahead += len(payload)
        if session.output_ahead > WINDOW_BYTES:
            raise TooMuch
        session.user.send({**header, "exec": session.id}, payload)

    # -- how sessions end ----------------------------------------------------------------------------------

    def end(self, session: Session, ending: Header) -> None:
        """Tell its user that it has ended, and how. Harmless when repeated."""
        if self._forget(session):
            session.user.send({**ending, "t": "exec.ended", "exec": session.id})

    def abandon(self, session: Session) -> None:
        """Tell the far end that nobody is there any longer. Harmless when repeated."""
        if self._forget(session):
            session.far.send({"t": "exec.ended", "exec": session.id, "container": session.container})

    def closed(self, channel: Channel) -> None:
        """A connection has ended, and with it the sessions of which it was an end."""
        for session in [each for each in self._sessions.values() if channel in (each.user, each.far)]:
            if channel is session.user:
                self.abandon(session)
            else:
                self.end(session, {"code": KILLED, "detail": "the connection to its container was lost"})
        for app in [app for app, attached in self._attached.items() if attached.channel is channel]:
            del self._attached[app]

    def container_ended(self, container: str, why: str) -> None:
        """A container has ended; what went on in it has, too."""
        for session in [each for each in self._sessions.values() if each.container == container]:
            self.end(session, {"code": KILLED, "detail": f"its container has ended: {why}"})

    def _forget(self, session: Session) -> bool:
        if self._sessions.get(session.id) is not session:
            return False
        del self._sessions[session.id]
        if session.attached is not None:
            session.attached.turn.release()
            self.on_interaction(session.container, False)
        return True


def _not_interactive() -> RemoteFailure:
    return RemoteFailure("failed_precondition", "nobody takes this app's interactions: run it with `modicum run -i`")

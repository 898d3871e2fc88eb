"""Does the helper that makes namespaces live on when something fails?"""

from __future__ import annotations

import errno
import os
import socket

import pytest

from modicum.node import control, netns
from modicum.node.kernel import kernel


def test_descriptors_that_cannot_be_sent_are_an_error_of_that_request(monkeypatch: pytest.MonkeyPatch) -> None:
    send = control.send
    refusals = [OSError(errno.ETOOMANYREFS, "too many references")]

    def send_or_not(end: socket.socket, message: control.Message, descriptors: tuple[int, ...] = ()) -> None:
        if descriptors and refusals:
            raise refusals.pop()
        send(end, message, descriptors)

    monkeypatch.setattr(control, "send", send_or_not)
    monkeypatch.setattr(netns, "make_namespaces", lambda _: (os.dup(0), os.dup(0)))
    monkeypatch.setattr(netns, "_furnish", lambda *_: None)
    ours, theirs = control.pair()
    with ours, theirs:
        for number in (1, 2):
            send(ours, {"number": None, "r": number})
        ours.shutdown(socket.SHUT_WR)
        netns._serve(theirs, kernel)
        first, second = control.receive(ours), control.receive(ours)
    assert first == ({"r": 1, "error": f"[Errno {errno.ETOOMANYREFS}] too many references"}, [])
    assert second is not None
    assert second[0] == {"r": 2}
    for descriptor in second[1]:
        os.close(descriptor)
    assert len(second[1]) == 2

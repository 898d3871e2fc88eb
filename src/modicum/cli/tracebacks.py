"""How an error of the user's program is shown: its traceback, local and remote frames, without frames of ours."""

from __future__ import annotations

import os
import traceback
from types import TracebackType

import click

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_CLICK = os.path.dirname(os.path.abspath(click.__file__)) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_ASYNCIO = os.path.join(_STANDARD, "asyncio") + os.sep


def shown(error: BaseException) -> str:
    """Return an exception with its causes as Python prints it, without our frames; with them if there are no others."""
    told = traceback.TracebackException.from_exception(error)
    theirs = any(_theirs(frame) for each in _chain(told) for frame in each.stack)
    if not theirs and not isinstance(error, SyntaxError):  # which names its place itself
        return "".join(told.format())
    for each in _chain(told):
        each.stack = traceback.StackSummary.from_list([frame for frame in each.stack if _theirs(frame)])
    return "".join(told.format())


def passed_through_user_code(error: BaseException) -> bool:
    """Return whether an exception was raised or passed on by the user's program, not by us and the standard library."""
    frames = traceback.extract_tb(_behind_main(error.__traceback__))
    return any(_theirs(frame) and not _is_standard(frame.filename) for frame in frames)


def _is_standard(name: str) -> bool:
    return name.startswith((_STANDARD, "<frozen")) and f"{os.sep}site-packages{os.sep}" not in name


def _behind_main(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from our own first frame on: what calls us is the interpreter's start."""
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(OURS):
        trace = trace.tb_next
    return trace


def _theirs(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith((OURS, _CLICK, _ASYNCIO, "<frozen importlib", "<frozen runpy"))


def _chain(told: traceback.TracebackException) -> list[traceback.TracebackException]:
    found: list[traceback.TracebackException] = []
    todo = [told]
    while todo:
        each = todo.pop()
        found.append(each)
        todo += [link for link in (each.__cause__, each.__context__) if link is not None]
        todo += each.exceptions or []
    return found

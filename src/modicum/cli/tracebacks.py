"""How an error of the user's program is shown: its traceback, local and remote frames, without frames of ours."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def shown(error: BaseException) -> str:
    """Return an exception with its causes as Python prints it, without our frames; with them if there are no others."""
    told = traceback.TracebackException.from_exception(error)
    if not any(_theirs(frame) for each in _chain(told) for frame in each.stack):
        return "".join(told.format())
    for each in _chain(told):
        each.stack = traceback.StackSummary.from_list([frame for frame in each.stack if _theirs(frame)])
    return "".join(told.format())


def passed_through_user_code(error: BaseException) -> bool:
    """Return whether an exception was raised or passed on by code that is not ours, nor click's."""
    return any(_theirs(frame) for frame in traceback.extract_tb(_behind_main(error.__traceback__)))


def _behind_main(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from our own first frame on: what calls us is the interpreter's start."""
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(OURS):
        trace = trace.tb_next
    return trace


def _theirs(frame: traceback.FrameSummary) -> bool:
    name = frame.filename
    return (
        not name.startswith((OURS, "<frozen importlib", "<frozen runpy"))
        and not _is_asyncio(name)
        and not _is_click(name)
    )


def _is_asyncio(name: str) -> bool:
    return name.startswith(os.path.dirname(os.__file__) + os.sep + "asyncio" + os.sep)


def _is_click(name: str) -> bool:
    click = sys.modules.get("click")
    return click is not None and name.startswith(os.path.dirname(str(click.__file__)) + os.sep)


def _chain(told: traceback.TracebackException) -> list[traceback.TracebackException]:
    found: list[traceback.TracebackException] = []
    todo = [told]
    while todo:
        each = todo.pop()
        found.append(each)
        todo += [link for link in (each.__cause__, each.__context__) if link is not None]
        todo += each.exceptions or []
    return found

"""What asking for calls and their outputs means on the wire: one operation for each question."""

from __future__ import annotations

import time

from modicum._exchange import ConnectionLost, Item, Reconnect, Request, ask
from modicum._outputs import Output
from modicum.wire.messages import EXCEPTION, GENERATOR_DONE, INTERNAL, SUCCESS, TERMINATED, TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from modicum._exchange import Operation
    from modicum.types import InputInfo
    from modicum.wire.frames import Header

GET_SLICE_S = 55.0
"""A wait for an output is asked for in slices."""

ITER_COUNT = 1000
"""So many outputs are asked for at once by who iterates over them."""

WATCHED_MAX = 1000
"""So many calls are watched at once by who gathers them."""


def get(call: str, index: int, timeout_s: float | None) -> Operation[Any]:
    """Return the value of an input of a spawned call. Raises the built-in `TimeoutError` if it is not there in time."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = GET_SLICE_S if deadline is None else min(deadline - time.monotonic(), GET_SLICE_S)
        try:
            request = {"t": "call.get", "call": call, "index": index, "wait_s": max(left, 0.0)}
            ((header, payload),) = yield Request((request, b""))
            if header["outputs"]:
                output = Output(header["outputs"][0], payload)
                yield from output.fetch()
                return output.value()
        except ConnectionLost:
            yield Reconnect()
        else:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"the call {call} has no output yet: {header['why']}")


def iterate(call: str, start: int, end: int | None) -> Operation[None]:
    """Give the values of inputs of a call, in the order of the inputs. Raises `ValueError` if it has no such inputs."""
    header, _ = yield from ask({"t": "call.info", "call": call})
    count = header["inputs"]
    end = count if end is None else end
    if start < 0 or end > count:
        raise ValueError(f"Invalid index range: {start} to {end} for {count} inputs")
    while start < end:
        request = {"t": "call.get", "call": call, "index": start, "count": min(end - start, ITER_COUNT)}
        header, payload = yield from ask({**request, "wait_s": GET_SLICE_S})
        place = 0
        for entry in header["outputs"]:
            output = Output(entry, payload[place : place + entry[2]])
            place += entry[2]
            while not (yield from _fetched(output)):
                yield Reconnect()
            yield Item(output.value())
            start += 1


def _fetched(output: Output) -> Operation[bool]:
    try:
        yield from output.fetch()
    except ConnectionLost:
        return False
    return True


def gather(calls: Sequence[str]) -> Operation[list[Any]]:
    """Return the values of calls, in their order, or raise what the first of them that fails raises."""
    found: dict[str, Any] = {}
    waiting = list(dict.fromkeys(calls))
    while waiting:
        watched = waiting[:WATCHED_MAX]
        header, _ = yield from ask({"t": "call.ready", "calls": watched, "wait_s": GET_SLICE_S})
        for call in header["ready"]:
            found[call] = yield from get(call, 0, None)
        waiting = [call for call in waiting if call not in found]
    return [found[call] for call in calls]


def look_up(call: str) -> Operation[Header]:
    """Return what there is to say of a call. Raises `NotFoundError` unless there is one."""
    header, _ = yield from ask({"t": "call.info", "call": call})
    return header


def cancel(call: str, terminate_containers: bool) -> Operation[None]:
    """End a call."""
    yield from ask({"t": "call.cancel", "call": call, "terminate_containers": terminate_containers})


def graph(call: str) -> Operation[list[InputInfo]]:
    """Return the inputs that no other input has made, of all that are related to a call."""
    header, _ = yield from ask({"t": "call.graph", "call": call})
    if header["truncated"]:
        import warnings

        warnings.warn(f"the graph of {call} is too large: only a part of it is returned", stacklevel=2)
    return _tree(header["inputs"])


def _tree(inputs: list[list[Any]]) -> list[InputInfo]:
    from modicum.types import InputInfo, InputStatus

    statuses = {
        SUCCESS: InputStatus.SUCCESS,
        GENERATOR_DONE: InputStatus.SUCCESS,
        EXCEPTION: InputStatus.FAILURE,
        INTERNAL: InputStatus.FAILURE,
        TIMEOUT: InputStatus.TIMEOUT,
        TERMINATED: InputStatus.TERMINATED,
    }
    by_key: dict[str, InputInfo] = {}
    for key, _, status, container, function, module in inputs:
        call, _, index = key.partition(":")
        state = statuses.get(status, InputStatus.PENDING)
        by_key[key] = InputInfo(f"in-{call[3:]}-{index}", call, container or "", state, function, module, [])
    roots: list[InputInfo] = []
    for key, parent, *_ in inputs:
        siblings = by_key[parent].children if parent in by_key else roots
        siblings.append(by_key[key])
    return roots

"""Who waits for which output, and when an agent may forget one.

An output is safe once it is in its caller's socket (the kernel delivers it even if the server dies) or, for a spawned
input, in the store. Until then the agent keeps it and would send it again to the next server.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from modicum.blobs.base import Blobs
from modicum.server.core.actions import Retry
from modicum.server.records import Call, Container, Input, Output, Sent, Waiter, key_of, split_key
from modicum.stores import calls as stored
from modicum.stores.database import Database
from modicum.wire.channel import Channel
from modicum.wire.frames import Header, batches

log = logging.getLogger("modicum.deliveries")

ACKNOWLEDGE_EVERY_S = 0.02
"""Acknowledgements wait so long for company: a frame for each output would cost the agent a wake-up each."""

STORE_AGAIN_S = 1.0

STORE_WITHIN_S = 0.02
"""Outputs that nobody waits for wait so long for company: a sync of the disk takes some milliseconds."""

UNCLAIMED_MAX = 10_000
UNCLAIMED_BYTES_MAX = 256 << 20
"""Outputs whose callers are away; what is more is not kept."""

SPILL_BYTES = 8 << 20
"""When so much waits in a caller's connection, further large outputs go to him as blobs, from disk."""

SPILL_OUTPUT_BYTES = 4096


class Deliveries:
    """Calls, their inputs, and the outputs on their way to whoever waits."""

    def __init__(self, blobs: Blobs, database: Database) -> None:
        self._blobs = blobs
        self._database = database
        self.calls: dict[str, Call] = {}
        self.inputs: dict[str, Input] = {}
        self._arriving: dict[str, Output] = {}
        self._unclaimed: dict[str, tuple[Output, float]] = {}
        self._unclaimed_bytes = 0
        self._pending_acks: set[Container] = set()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._outbox: dict[Call, list[tuple[int, Output]]] = {}
        self._storing: list[tuple[Input, Output]] = []
        self._waiters: dict[str, dict[Waiter, None]] = {}
        self.durable: dict[str, int] = {}  # function → how many of its spawned inputs are in memory, and how large
        self.durable_bytes: dict[str, int] = {}
        self.on_surprise: Callable[[str, str, stored.NewOutput], None] = lambda key, function, output: None
        self.log_end: Callable[[str], int] = lambda log: 0
        self.on_finish: Callable[[str, str, float | None], None] = lambda function, status, run_s: None

    # -- from agents ---------------------------------------------------------------------------------------

    def announce(self, container: Container, seq: int) -> Sent:
        """An agent's frame of outputs is here; it stays unacknowledged until it has been taken in (`arrive`)."""
        sent = Sent(seq, container.function, container.id, open=1)
        container.unacknowledged.append(sent)
        self._pending_acks.add(container)
        return sent

    def arrive(self, sent: Sent, outputs: dict[str, Output]) -> None:
        """Take in a frame's outputs; the core says next which of them count (`accept`)."""
        for output in outputs.values():
            output.frame = sent
        sent.open -= 1
        self._arriving = outputs

    def may_hold(self, key: str, function: str) -> bool:
        """Return whether a container of a function may say that it holds an input: not one of another function."""
        waiting = self.inputs.get(key)
        return waiting is None or waiting.call.function == function

    def accept(self, keys: Iterable[str]) -> None:
        """These of the arriving outputs are the final ones of their inputs."""
        for key in keys:
            output = self._arriving[key]
            waiting = self.inputs.get(key)
            if waiting is None:  # its caller lost his connection, or the server was restarted: he will ask again
                self._keep(key, output)
                if output.frame is not None:
                    self.on_surprise(key, output.frame.function, _new_output(*split_key(key), output))
            elif _is_from(waiting.call, output):
                self.finish(key, output)

    def retry(self, entries: Iterable[Retry]) -> None:
        """These inputs run again: what their failed attempts brought is dropped."""
        failed = []
        for key, failures, _ in entries:
            output = self._arriving.pop(key, None)
            if output is not None and output.blob is not None:
                self._blobs.delete(output.blob)
            waiting = self.inputs.get(key)
            if waiting is not None:
                waiting.container = None
                if waiting.call.durable:
                    failed.append((waiting.call.id, waiting.index, failures))
        if failed:  # a server that is lost before this is stored lets them be tried once more
            _ = self._database.submit(stored.count_failures(failed))

    def settle(self) -> None:
        """Send what has been accepted, and acknowledge soon what is safe."""
        self._arriving = {}
        for call, outputs in self._outbox.items():
            self._send(call, outputs)
        self._outbox.clear()
        if self._ack_timer is None and self._pending_acks:
            self._ack_timer = asyncio.get_running_loop().call_later(ACKNOWLEDGE_EVERY_S, self._acknowledge)

    def finish(self, key: str, output: Output) -> None:
        """An input has ended, in its container or because the core says so."""
        waiting = self.inputs.pop(key, None)
        if waiting is None:
            return
        call = waiting.call
        self.on_finish(call.function, output.status, output.run_s)
        _hold(output)
        if call.durable:
            self._store(waiting, output)
            return
        call.open.discard(waiting.index)
        if waiting.blob is not None:
            self._blobs.delete(waiting.blob)
        if call.channel is None:
            call.outputs[waiting.index] = output
            return
        self._outbox.setdefault(call, []).append((waiting.index, output))
        if output.frame is None:
            asyncio.get_running_loop().call_soon(self.settle)

    def _store(self, waiting: Input, output: Output) -> None:
        """Make a spawned input's output durable, together with others that come with it or, if nobody waits, soon."""
        loop = asyncio.get_running_loop()
        if waiting.call.id in self._waiters:
            loop.call_soon(self.store)
        elif not self._storing:
            loop.call_later(STORE_WITHIN_S, self.store)
        self._storing.append((waiting, output))

    def store(self) -> None:
        """Store what waits to be. Whoever stores something else calls this first: they share a sync of the disk."""
        if not self._storing:
            return
        ended, self._storing = self._storing, []
        rows = [_new_output(waiting.call.id, waiting.index, output) for waiting, output in ended]
        self._database.submit(stored.finish(rows)).add_done_callback(partial(self._stored, ended))

    def _stored(self, ended: list[tuple[Input, Output]], future: asyncio.Future[int]) -> None:
        if future.cancelled():
            return
        if (error := future.exception()) is not None:
            log.error("outputs not stored", extra={"count": len(ended)}, exc_info=error)
            asyncio.get_running_loop().call_later(STORE_AGAIN_S, self._store_again, ended)
            return
        for waiting, output in ended:
            _release(output)
            if waiting.blob is not None:
                self._blobs.delete(waiting.blob)
            if waiting.index in waiting.call.open:
                self._close(waiting)
                self.tell_waiters(waiting.call.id, output, waiting.index)
        self.settle()

    def _store_again(self, ended: list[tuple[Input, Output]]) -> None:
        for waiting, output in ended:
            self._store(waiting, output)

    def _close(self, waiting: Input) -> None:
        """A spawned input is done with."""
        call = waiting.call
        call.open.discard(waiting.index)
        _count(self.durable, call.function, -1)
        _count(self.durable_bytes, call.function, -len(waiting.payload))
        if not call.open and self.calls.get(call.id) is call:
            del self.calls[call.id]

    def cancel(self, call: Call, output: Output) -> list[str]:
        """End all inputs of a call that have no output; return the keys of those that wait or run.

        A spawned one's output is in the store already.
        """
        waiting = [self.inputs[key] for key in (key_of(call.id, index) for index in call.open) if key in self.inputs]
        for each in waiting:
            if call.durable:
                del self.inputs[key_of(call.id, each.index)]
                self._close(each)
            else:
                self.finish(key_of(call.id, each.index), replace(output))
        return [key_of(call.id, each.index) for each in waiting]

    # -- to those who ask for spawned inputs -----------------------------------------------------------------

    def wait(self, call: str, index: int, function: str = "") -> Waiter:
        """Return what is told of the output of a spawned input; `stop_waiting` must follow."""
        self.store()
        waiter = Waiter(index, function, asyncio.get_running_loop().create_future())
        self._waiters.setdefault(call, {})[waiter] = None
        return waiter

    def stop_waiting(self, call: str, waiter: Waiter) -> None:
        """Nobody asks any longer."""
        waiters = self._waiters.get(call, {})
        waiters.pop(waiter, None)
        if not waiters:
            self._waiters.pop(call, None)

    def tell_waiters(self, call: str, output: Output, index: int | None = None) -> None:
        """Tell those who ask for an input of a call, by default for any, of its output."""
        for waiter in self._waiters.get(call, ()):
            if index in (None, waiter.index) and not waiter.output.done():
                waiter.output.set_result(output)

    def end(self, functions: set[str], output: Output) -> None:
        """Functions are gone: forget their calls, and tell whoever asks for outputs of them."""
        for call in [call for call in self.calls.values() if call.function in functions]:
            self.forget(call)
        for function in functions:
            self.durable.pop(function, None)
            self.durable_bytes.pop(function, None)
        for waiters in self._waiters.values():
            for waiter in waiters:
                if waiter.function in functions and not waiter.output.done():
                    waiter.output.set_result(output)

    # -- to callers ----------------------------------------------------------------------------------------

    def open(self, call: Call) -> None:
        """A call has begun."""
        self.calls[call.id] = call

    def add(self, call: Call, index: int, payload: bytes, blob: str | None) -> str | None:
        """Take in an input; return its key, or None if it is known and only its answer is awaited."""
        key = key_of(call.id, index)
        if key in self.inputs:
            return None
        if index in call.outputs:  # it ended while its caller was away
            self._outbox.setdefault(call, []).append((index, call.outputs.pop(index)))
            return None
        if index in call.open:
            return None  # it has ended and is being stored
        self.inputs[key] = Input(call, index, payload, blob)
        call.open.add(index)
        if call.durable:
            _count(self.durable, call.function, 1)
            _count(self.durable_bytes, call.function, len(payload))
        unclaimed = self._unclaimed.get(key)
        if unclaimed is not None and _is_from(call, unclaimed[0]):
            self._drop_unclaimed(key)
            self.finish(key, unclaimed[0])
            return None
        return key

    def _keep(self, key: str, output: Output) -> None:
        if self._unclaimed_bytes + len(output.payload) > UNCLAIMED_BYTES_MAX or len(self._unclaimed) >= UNCLAIMED_MAX:
            return  # whoever asks for it has it run again
        if key in self._unclaimed:
            return  # the first one stays
        _hold(output)
        self._unclaimed[key] = output, time.monotonic()
        self._unclaimed_bytes += len(output.payload)

    def drop_unclaimed(self, key: str) -> bool:
        """Forget an output that nobody asks for; return whether there was one."""
        if key not in self._unclaimed:
            return False
        self._drop_unclaimed(key)
        return True

    def _drop_unclaimed(self, key: str) -> None:
        output, _ = self._unclaimed.pop(key)
        self._unclaimed_bytes -= len(output.payload)
        _release(output)

    def forget(self, call: Call) -> list[str]:
        """Nobody waits for this call: drop it and return the keys of inputs without an output."""
        self.calls.pop(call.id, None)
        self._outbox.pop(call, None)
        keys = [key_of(call.id, index) for index in call.open]
        if call.durable:
            call.open.clear()
        for key in keys:
            dropped = self.inputs.pop(key, None)
            if dropped is not None and dropped.blob is not None:
                self._blobs.delete(dropped.blob)
        for output in call.outputs.values():
            _release(output)
        for blob in [*call.blobs, *(output.blob for output in call.outputs.values())]:
            if blob is not None:
                self._blobs.delete(blob)
        return keys

    def _send(self, call: Call, outputs: list[tuple[int, Output]]) -> None:
        channel = call.channel
        if channel is None:
            call.outputs.update(outputs)
            return
        header: Header = {"t": "call.outputs", "call": call.id, "log": [call.app, self.log_end(call.app)]}
        for entries, payload in batches(self._entries(call, channel, outputs)):
            channel.send({**header, "outputs": entries}, payload)
        for _, output in outputs:
            _release(output)
            if output.frame is not None:
                output.frame.written[channel] = channel.written
        if call.kind == "sync" and not call.blobs:
            self.calls.pop(call.id, None)

    def _entries(
        self, call: Call, channel: Channel, outputs: list[tuple[int, Output]]
    ) -> Iterator[tuple[list[Any], bytes]]:
        for index, output in outputs:
            payload, blob = self._spilled(channel, output)
            if blob is not None:
                call.blobs.append(blob)
            yield entry(index, output.status, payload, blob, output.plain), payload

    def _spilled(self, channel: Channel, output: Output) -> tuple[bytes, str | None]:
        if len(output.payload) < SPILL_OUTPUT_BYTES or channel.buffered < SPILL_BYTES:
            return output.payload, output.blob
        blob = self._blobs.new()
        try:
            self._blobs.write(blob, 0, len(output.payload), output.payload)
        except OSError:  # a full disk: it waits in memory after all
            self._blobs.delete(blob)
            return output.payload, output.blob
        return b"", blob

    # -- acknowledgements ----------------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        self._ack_timer = None
        for container in list(self._pending_acks):
            done = 0
            frames = container.unacknowledged
            while frames and _is_safe(frames[0]):
                done = frames.pop(0).seq
            if done and container.channel is not None:
                container.channel.send({"t": "outputs.ack", "seq": done})
            if not frames:
                self._pending_acks.discard(container)
        self.settle()

    def drop_container(self, container: Container) -> None:
        """Its agent is gone: there is nobody to acknowledge to."""
        self._pending_acks.discard(container)

    def expire_unclaimed(self, older_than_s: float) -> None:
        """Forget outputs that nobody asked for."""
        limit = time.monotonic() - older_than_s
        for key, (output, since) in list(self._unclaimed.items()):
            if since < limit:
                self._drop_unclaimed(key)
                if output.blob is not None:
                    self._blobs.delete(output.blob)

    def blobs_in_use(self) -> set[str]:
        """Return the blobs that inputs and outputs name which are not at their end yet."""
        outputs = [output for call in self.calls.values() for output in call.outputs.values()]
        outputs += [output for output, _ in self._unclaimed.values()]
        named = [*(each.blob for each in self.inputs.values()), *(each.blob for each in outputs)]
        named += [blob for call in self.calls.values() for blob in call.blobs]
        return {blob for blob in named if blob is not None}


def _new_output(call: str, index: int, output: Output) -> stored.NewOutput:
    container = None if output.frame is None else output.frame.container
    return stored.NewOutput(
        call, index, output.status, output.payload, output.blob, time.time(), container, output.run_s, output.plain
    )


def entry(index: int, status: str | None, payload: bytes, blob: str | None, plain: bool) -> list[Any]:
    """Return an output as its reader is told of it."""
    told = [index, status, len(payload), blob]
    return [*told, True] if plain else told


def _count(counts: dict[str, int], function: str, change: int) -> None:
    counts[function] = counts.get(function, 0) + change


def _is_from(call: Call, output: Output) -> bool:
    """Return whether an output was made by a container of the call's own function."""
    return output.frame is None or output.frame.function == call.function


def _hold(output: Output) -> None:
    """The agent must keep the frame that brought this output."""
    if output.frame is not None:
        output.frame.open += 1


def _release(output: Output) -> None:
    if output.frame is not None:
        output.frame.open -= 1


def _is_safe(frame: Sent) -> bool:
    """Return whether all that came in a frame is stored, or in sockets of callers."""
    if frame.open:
        return False
    return all(channel.closed or channel.written - channel.buffered >= end for channel, end in frame.written.items())

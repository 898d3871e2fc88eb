"""How a container works: inputs come in, the function runs, outputs go out.

Two threads. The reading thread takes frames from the server and answers at once, also while user code runs: it queues
inputs, gives them back, cancels. The main thread runs user code and writes the outputs itself; results of very short
runs leave together. Sync functions run right on the main thread, async ones on its event loop (`aio.py`).

This is the last of the five rooms of `f.remote(x)`: the output travels back through `server/api/calls.py`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

from modicum import _context
from modicum.agent import output
from modicum.agent.link import Link
from modicum.agent.reading import Reading
from modicum.wire.messages import EXCEPTION, GENERATOR_DONE, INLINE_BYTES_MAX, INTERNAL, SUCCESS
from modicum.wire.values import dump_exception, dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from modicum.agent.pieces import Pieces
    from modicum.wire.frames import Frame, Header

    Input = tuple[str, int, bytes, "str | None"]  # key, attempt, payload, blob

BATCH_INPUTS = 64
BATCH_BYTES = 256 * 1024
BATCH_S = 0.005
"""Outputs wait for company so long at most, and only while more inputs are queued here."""


class Agent:
    """One container's work from its first frame to its exit."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._queue: deque[Input] = deque()
        # Key to attempt of all that came and whose output the server has not acknowledged. The reading thread's alone.
        self._held: dict[str, int] = {}
        # Those of them that nobody wants any longer. They still get an output: it frees their place.
        self._cancelled: set[str] = set()
        self._reading = Reading(self._read)
        self._exiting = False
        self._batch = _Batch(self)
        self.pieces: dict[str, Pieces] = {}
        self.on_work: Callable[[], None] = self._reading.give
        self.on_cancel: Callable[[str], None] = lambda key: None
        self._handlers: dict[str, Callable[[Header, bytes], None]] = {
            "run": self._on_run,
            "take_back": self._on_take_back,
            "cancel": self._on_cancel_inputs,
            "outputs.ack": self._on_outputs_ack,
            "piece.ack": self._on_piece_ack,
            "piece.resend": self._on_piece_resend,
            "ping": lambda header, payload: self.link.send({"t": "reply", "r": header["r"]}),
            "exit": self._on_exit,
        }
        self.link = Link(directory, self._hello, self._reading.want)

    # -- life ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Load the function, then work until told to exit."""
        header, serialized = self.link.receive()
        spec = header["function"]
        _context.socket_directory = self._directory
        _context.app = header["app"]
        _context.functions = header["functions"]
        output.capture()
        self._reading.start()
        try:
            from modicum.agent.loader import load, whole

            function = load(spec, whole(self.link, serialized, header["code"]) if serialized else None)
        except BaseException as error:  # noqa: BLE001
            # Not only Exception: a module may call sys.exit() when it is imported.
            output.end()
            self.link.send({"t": "agent.failed", "status": EXCEPTION}, dump_exception(error))
            self._linger()
            return
        if spec["async"]:
            from modicum.agent.aio import serve

            serve(self, function, spec["generator"])
        else:
            self._serve(function, spec["generator"])
        output.end()

    def _linger(self) -> None:
        """Wait to be told to exit: the failure must have been read before the connection ends."""
        while not self._exiting:
            self._reading.wait()

    def _serve(self, function: Callable[..., Any], generator: bool) -> None:
        run_one = self._run_generator if generator else self._run_function
        while True:
            item = self.take()
            if item is None:
                self._batch.flush()
                if self._exiting:
                    return
                self._reading.wait()
                continue
            key, attempt = item[0], item[1]
            self._reading.begin(key)
            _context.enter(key)
            output.begin(key)
            started = time.perf_counter()
            status, value = run_one(function, item)
            run_s = time.perf_counter() - started
            printed = output.end()
            _context.leave()
            self.finish(key, attempt, status, run_s, value, printed)

    def _run_function(self, function: Callable[..., Any], item: Input) -> tuple[str, bytes]:
        try:
            args, kwargs = self.arguments(item)
            value = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001
            return failure(error)
        try:
            return SUCCESS, dumps(value)
        except Exception as error:  # noqa: BLE001 - whatever its own pickling raises
            return failure(unsendable(function, "returned", value, error))

    def _run_generator(self, function: Callable[..., Any], item: Input) -> tuple[str, bytes]:
        pieces = self.open_pieces(item[0])
        count = 0
        try:
            args, kwargs = self.arguments(item)
            for value in function(*args, **kwargs):
                pieces.send(piece_of(function, value))
                count += 1
            return GENERATOR_DONE, dumps(count)
        except BaseException as error:  # noqa: BLE001
            return failure(error)

    def open_pieces(self, key: str) -> Pieces:
        """Return the outlet of a generator that begins now."""
        from modicum.agent.pieces import Pieces

        pieces = self.pieces[key] = Pieces(self.link, key)
        if key in self._cancelled:  # the reading thread was here before there was anything to cancel
            pieces.cancel()
        return pieces

    def arguments(self, item: Input) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and keyword arguments of an input."""
        data: bytes | bytearray = item[2]
        if item[3] is not None:
            from modicum.agent.blobs import fetch

            data = fetch(self.link, item[3])
        try:
            return loads(data)  # type: ignore[no-any-return]
        except Exception as error:
            raise unloadable(error) from error

    # -- outputs -------------------------------------------------------------------------------------------

    def take(self) -> Input | None:
        """Return the next input that is still wanted, None if there is none now."""
        while True:
            try:
                item = self._queue.popleft()
            except IndexError:
                return None
            if not self._queue:
                self._batch.flush()  # nothing follows soon that these outputs could wait for
            if item[0] not in self._cancelled:
                return item
            self.finish(item[0], item[1], EXCEPTION, 0.0, cancelled(), False)

    def finish(self, key: str, attempt: int, status: str, run_s: float, value: bytes, printed: bool) -> None:
        """Send an input's output, or keep it for a moment if others follow.

        If it printed anything the server is told, so that this is shown before the caller goes on.
        """
        blob = None
        if len(value) > INLINE_BYTES_MAX:
            from modicum.agent.blobs import BlobLost, store
            from modicum.exception import RequestSizeError

            try:
                blob, value = store(self.link, value), b""
            except (BlobLost, RequestSizeError) as error:
                status, value = failure(error)
        self._batch.add([key, attempt, status, round(run_s, 6), len(value), blob], value, printed)
        if not self._queue:
            self._batch.flush()

    # -- the reading thread --------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take in a message, and those that have come with it."""
        frame: Frame | None = self.link.receive()
        while frame is not None:
            header, payload = frame
            handler = self._handlers.get(header["t"])
            if handler is not None:
                handler(header, payload)
            frame = self.link.receive_ready()

    def _on_run(self, header: Header, payload: bytes) -> None:
        start = 0
        for key, attempt, size, blob in header["inputs"]:
            self._held[key] = attempt
            self._cancelled.discard(key)  # a caller who came back wants it again
            self._queue.append((key, attempt, payload[start : start + size], blob))
            start += size
        self.on_work()

    def _on_take_back(self, header: Header, payload: bytes) -> None:
        taken: list[str] = []
        while len(taken) < header["count"]:
            try:
                taken.append(self._queue.pop()[0])
            except IndexError:  # the main thread was faster
                break
        for key in taken:
            del self._held[key]
            self._cancelled.discard(key)
        self._batch.flush()  # the one that runs is slow: what is done must not wait for it
        self.link.send({"t": "agent.taken", "keys": taken})

    def _on_cancel_inputs(self, header: Header, payload: bytes) -> None:
        for key in header["keys"]:
            if key not in self._held:
                continue  # it is over
            self._cancelled.add(key)
            pieces = self.pieces.get(key)
            if pieces is not None:
                pieces.cancel()
            self.on_cancel(key)

    def _on_outputs_ack(self, header: Header, payload: bytes) -> None:
        for key, attempt, *_ in self._batch.acknowledged(header["seq"]):
            if self._held.get(key) == attempt:
                del self._held[key]
                self._cancelled.discard(key)
                pieces = self.pieces.pop(key, None)
                if pieces is not None:
                    pieces.forget()

    def _on_piece_ack(self, header: Header, payload: bytes) -> None:
        pieces = self.pieces.get(header["key"])
        if pieces is not None:
            pieces.acknowledged(header["pieces"])

    def _on_piece_resend(self, header: Header, payload: bytes) -> None:
        pieces = self.pieces.get(header["key"])
        if pieces is not None:
            pieces.acknowledged(header["pieces"])
            pieces.resend()

    def _on_exit(self, header: Header, payload: bytes) -> None:
        self._exiting = True
        self.on_work()

    @property
    def exiting(self) -> bool:
        """True once the server wants the container to end."""
        return self._exiting

    def _hello(self) -> Header:
        holding = [[key, attempt] for key, attempt in self._held.items()]
        return {"t": "agent.hello", "r": 1, "build": os.environ.get("MODICUM_BUILD", ""), "holding": holding}


def failure(error: BaseException) -> tuple[str, bytes]:
    """Return how an input ended: with the user's exception, without our own frames, or by a fault of the platform."""
    from modicum.agent.blobs import BlobLost

    if isinstance(error, BlobLost):
        return INTERNAL, str(error).encode()
    return EXCEPTION, dump_exception(error)


def unsendable(function: Callable[..., Any], did: str, value: object, error: Exception) -> Exception:
    """Return the error for a value that cannot be sent to the caller."""
    from modicum.exception import SerializationError

    refused = SerializationError(
        f"what {function.__name__!r} {did}, a {type(value).__name__}, cannot be sent to its caller: "
        f"{type(error).__name__}: {error}; give it plain data"
    )
    refused.__cause__ = error
    return refused


def piece_of(function: Callable[..., Any], value: object) -> bytes:
    """Return what a generator yielded as bytes."""
    try:
        return dumps(value)
    except Exception as error:
        raise unsendable(function, "yielded", value, error) from error


def unloadable(error: Exception) -> Exception:
    """Return the error for arguments that cannot be made here."""
    from modicum.exception import DeserializationError

    return DeserializationError(
        f"the arguments of this call cannot be loaded in the container: {type(error).__name__}: {error}; what they are "
        "made of must be importable there: install the package in the function's image, or ship its source"
    )


def cancelled() -> bytes:
    """Return the output of an input that was cancelled before it began."""
    from modicum.exception import InputCancellation

    return dump_exception(InputCancellation("cancelled before it began"))


class _Batch:
    """Outputs that leave in one frame."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._lock = threading.Lock()
        self._entries: list[list[Any]] = []
        self._values: list[bytes] = []
        self._bytes = 0
        self._printed = False
        self._since = 0.0
        self._seq = 0
        self._sent: deque[tuple[int, list[list[Any]]]] = deque()

    def add(self, entry: list[Any], value: bytes, printed: bool) -> None:
        with self._lock:
            if self._bytes + len(value) > INLINE_BYTES_MAX:
                self._send()
            if not self._entries:
                self._since = time.perf_counter()
            self._entries.append(entry)
            self._values.append(value)
            self._bytes += len(value)
            self._printed = self._printed or printed
            if (
                len(self._entries) >= BATCH_INPUTS
                or self._bytes >= BATCH_BYTES
                or time.perf_counter() - self._since > BATCH_S
            ):
                self._send()

    def flush(self) -> None:
        if self._entries:
            with self._lock:
                self._send()

    def acknowledged(self, seq: int) -> list[list[Any]]:
        """Forget the frames up to this one and return what was in them."""
        done: list[object] = []
        entries: list[list[Any]] = []
        while self._sent and self._sent[0][0] <= seq:
            number, sent = self._sent.popleft()
            done.append(number)
            entries += sent
        self._agent.link.forget(done)
        return entries

    def _send(self) -> None:
        if not self._entries:
            return
        self._seq += 1
        header: Header = {"t": "agent.outputs", "seq": self._seq, "outputs": self._entries}
        if self._printed:
            header["printed"] = True
        self._sent.append((self._seq, self._entries))
        self._agent.link.send_kept(self._seq, header, b"".join(self._values))
        self._entries, self._values, self._bytes, self._printed = [], [], 0, False

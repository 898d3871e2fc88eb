"""How a container works: inputs come in, the function runs, outputs go out.

Two threads. The main one runs user code, writes the outputs itself, and reads what the server sends while it is idle;
another reads while user code runs (`reading.py`), so that inputs are queued, given back and cancelled at any time.
Results of very short runs leave together. A sync function runs right here; `service.py` says what runs classes, async
functions and several inputs at once.

This is the last of the five rooms of `f.remote(x)`: the output travels back through `server/api/calls.py`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enums of `signal`
import os
import sys
import threading
import time
from collections import deque

from modicum import _context
from modicum.agent import output
from modicum.agent.link import Link
from modicum.agent.outputs import Outputs
from modicum.agent.reading import Reading
from modicum.wire.messages import EXCEPTION, GENERATOR_DONE, INLINE_BYTES_MAX, SUCCESS
from modicum.wire.values import dump_exception, dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from modicum.agent.pieces import Pieces
    from modicum.wire.frames import Frame, Header

    Input = list[Any]  # key, attempt, payload, blob, and the method if it is a class's
    Run = tuple[Callable[..., Any], bool]  # what to call, and whether it is a generator

LINGER_S, LINGER_AT_ONCE_S = 5.0, 1.0
"""Threads of the user's that are no daemons are waited for so long at most when all else has ended."""

INSIST_EVERY_S = 0.1

LOADING = "loading"
"""In place of an input's key: the user's module is imported, or the hooks run that come before all inputs."""


class Agent:
    """One container's work from its first frame to its exit."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._queue: deque[Input] = deque()
        # Key to attempt of all that came and whose output the server has not acknowledged. For whoever reads alone.
        self._held: dict[str, int] = {}
        # Those of them that nobody wants any longer. They still get an output: it frees their place.
        self._cancelled: set[str] = set()
        self._reading = Reading(self._read)
        self._exiting = False
        self._loaded = False
        self._at_once = False
        # Which input's user code the main thread is in: only there may it be interrupted.
        self._inside = ""
        # The one in which that has been done: once is enough.
        self._struck = ""
        self._main = threading.get_ident()
        self._process = os.getpid()
        self.pieces: dict[str, Pieces] = {}
        self.on_work: Callable[[], None] = self._reading.give
        self.on_cancel: Callable[[str], None] = self.interrupt
        self.on_stop: Callable[[], None] = lambda: None
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
        self._outputs = Outputs(self.link)

    # -- life ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Load the function, work until told to exit, and end what the user's code has begun."""
        header, serialized = self.link.receive()
        _context.socket_directory = self._directory
        _context.app = header["app"]
        _context.functions = header["functions"]
        _context.restricted = header.get("restricted", False)
        _context.logs_errors = header.get("logs_errors", False)
        if inputs_at_once(header["function"]) > 1:
            _context.separate()
            output.separate()
        else:
            output.capture()
        self._take_signals()
        if header.get("interactive"):
            from modicum.agent.debugging import prepare

            prepare(self, header["interactive"])
        elif not os.environ.get("PYTHONBREAKPOINT"):
            sys.breakpointhook = _refuse_breakpoint
        self._reading.start()
        try:
            self._inside = LOADING
            serve = self._load(header, serialized)
            self._inside = ""
        except BaseException as error:  # noqa: BLE001
            # Not only Exception: a module may call sys.exit() when it is imported.
            self._inside = ""
            self._fail(error)
            return
        output.end()
        self._loaded = True
        self.link.send({"t": "agent.loaded"})
        serve()
        output.end()
        self._limit_threads()

    def _load(self, header: Header, serialized: bytes) -> Callable[[], None]:
        """Do all that comes before the first input; return what works until the agent is to exit."""
        from modicum.agent.loader import load, whole

        spec = header["function"]
        code = whole(self.link, serialized, header["code"]) if serialized else None
        if spec["async"] or spec.get("class") or spec.get("batching") or inputs_at_once(spec) > 1:
            from modicum.agent.service import start

            return start(self, spec, code, header.get("parameters"))
        function = load(spec, code)
        run = function, spec["generator"]
        return lambda: self.serve(lambda item: run)

    def _fail(self, error: BaseException) -> None:
        """Tell why nothing can run here, and wait to be told to exit: that must be read before the connection ends."""
        from modicum.agent.endings import log_error, summary

        if not self._at_once:
            log_error(error)
        output.end()
        if not self._at_once:
            self.link.send({"t": "agent.failed", "status": EXCEPTION, "why": summary(error)}, dump_exception(error))
        while not self._exiting:
            self._reading.wait()

    def _limit_threads(self) -> None:
        """Give threads that the user's code has left behind, and that the interpreter would wait for, a little time."""
        if any(each is not threading.current_thread() and not each.daemon for each in threading.enumerate()):
            from modicum.agent.service import end_within

            end_within(LINGER_AT_ONCE_S if self._at_once else LINGER_S)

    def serve(self, choose: Callable[[Input], Run]) -> None:
        """Run inputs one after the other, right here. `choose` says what runs an input."""
        while True:
            item = self.take()
            if item is None:
                self._outputs.flush()
                if self._exiting:
                    return
                self._reading.wait()
                continue
            self.run_here(*choose(item), item)

    def run_here(self, function: Callable[..., Any], generator: bool, item: Input) -> None:
        """Run one input on the main thread and send its output."""
        key = item[0]
        run_one = self._run_generator if generator else self._run_function
        self._reading.begin(key)
        _context.enter(key)
        output.begin(key)
        started = time.perf_counter()
        try:
            status, value = run_one(function, item)
        except BaseException as error:  # noqa: BLE001 - an interrupt, just when the user's code had ended
            status, value = _failure(error)
        run_s = time.perf_counter() - started
        self._struck = ""
        printed = output.end()
        _context.leave()
        self.finish(key, item[1], status, run_s, value, printed)

    def _run_function(self, function: Callable[..., Any], item: Input) -> tuple[str, bytes]:
        try:
            args, kwargs = self.arguments(item)
            self._inside = item[0]
            if self._cancelled:
                self._enter(item[0])
            value = function(*args, **kwargs)
            self._inside = ""
        except BaseException as error:  # noqa: BLE001
            self._inside = ""
            return _failure(error)
        try:
            return SUCCESS, dumps(value)
        except Exception as error:  # noqa: BLE001 - whatever its own pickling raises
            from modicum.agent.endings import failure, unsendable

            return failure(unsendable(function, "returned", value, error))

    def _run_generator(self, function: Callable[..., Any], item: Input) -> tuple[str, bytes]:
        from modicum.agent.endings import piece_of

        pieces = self.open_pieces(item[0])
        count = 0
        try:
            args, kwargs = self.arguments(item)
            self._enter(item[0])
            for value in function(*args, **kwargs):
                self._inside = ""  # half a frame must not be cut off
                pieces.send(piece_of(function, value))
                count += 1
                self._enter(item[0])
            self._inside = ""
            return GENERATOR_DONE, dumps(count)
        except BaseException as error:  # noqa: BLE001
            self._inside = ""
            return _failure(error)

    # -- interrupts ----------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        _signal.signal(_signal.SIGUSR1, self._on_interrupt)
        _signal.signal(_signal.SIGTERM, self._on_terminate)
        sys.unraisablehook = self._on_ignored

    def _enter(self, key: str) -> None:
        """From here to `_inside = ""` the main thread is in user code. Raises at once if that is not wanted."""
        self._inside = key
        if key in self._cancelled:
            self._inside = ""
            raise _interrupted()

    def interrupt(self, key: str) -> None:
        """Raise `InputCancellation` in the user's code on the main thread, if that runs this input."""
        if key and self._inside == key:
            threading.Thread(target=self._insist, args=(key,), name="modicum-interrupt", daemon=True).start()

    def _insist(self, key: str) -> None:
        """Send the signal until it has worked: one that comes just before a system call does not end that call."""
        while self._inside == key:
            if self._struck != key:
                _signal.pthread_kill(self._main, _signal.SIGUSR1)
            time.sleep(INSIST_EVERY_S)

    def _on_interrupt(self, number: int, frame: object) -> None:
        key = self._inside
        if key and key != self._struck and (self._at_once or key in self._cancelled):  # else it has ended meanwhile
            self._struck = key
            raise _interrupted()

    def _on_ignored(self, ignored: sys.UnraisableHookArgs) -> None:
        """Python drops an exception in a destructor or a callback: if it was an interrupt, it has not worked yet."""
        if not self._struck or ignored.exc_type is not type(_interrupted()):
            sys.__unraisablehook__(ignored)
        elif threading.get_ident() == self._main:
            self._struck = ""  # nothing may follow: the next signal has to find us outside

    def _on_terminate(self, number: int, frame: object) -> None:
        if os.getpid() == self._process:
            self._on_exit({"t": "exit", "now": True}, b"")
            self._reading.leave()
        else:  # a process that the user's code has forked: it ends as if we were not here
            _signal.signal(number, _signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def is_cancelled(self, key: str) -> bool:
        """Whether nobody wants an input any longer that is here."""
        return key in self._cancelled or self._at_once

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
            from modicum.agent.endings import unloadable

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
                self._outputs.flush()  # nothing follows soon that these outputs could wait for
            if item[0] not in self._cancelled:
                return item
            from modicum.agent.endings import cancelled

            self.finish(item[0], item[1], EXCEPTION, 0.0, cancelled(), False)

    def finish(self, key: str, attempt: int, status: str, run_s: float, value: bytes, printed: bool) -> None:
        """Send an input's output, or keep it for a moment if others follow.

        If it printed anything the server is told, so that this is shown before the caller goes on. Of what was
        interrupted because the container has to end at once there is no output: it runs again elsewhere.
        """
        if self._at_once and status == EXCEPTION:
            return
        blob = None
        if len(value) > INLINE_BYTES_MAX:
            from modicum.agent.blobs import BlobLost, store
            from modicum.exception import RequestSizeError

            try:
                blob, value = store(self.link, value), b""
            except (BlobLost, RequestSizeError) as error:
                status, value = _failure(error)
        self._outputs.add([key, attempt, status, round(run_s, 6), len(value), blob], value, printed)
        if not self._queue:
            self._outputs.flush()

    @property
    def has_unsent(self) -> bool:
        """Whether outputs wait for company."""
        return bool(self._outputs.entries)

    def flush(self) -> None:
        """Send them."""
        self._outputs.flush()

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
        for entry in header["inputs"]:
            key, size = entry[0], entry[2]
            self._held[key] = entry[1]
            self._cancelled.discard(key)  # a caller who came back wants it again
            entry[2] = payload[start : start + size]
            self._queue.append(entry)
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
        self._outputs.flush()  # the one that runs is slow: what is done must not wait for it
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
        for key, attempt, *_ in self._outputs.acknowledged(header["seq"]):
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
        if header.get("now"):
            self._at_once = True
            self._queue.clear()
            self.interrupt(self._inside)
            self.on_stop()
        self.on_work()

    @property
    def exiting(self) -> bool:
        """True once the server wants the container to end."""
        return self._exiting

    @property
    def at_once(self) -> bool:
        """True once it wants that without waiting for what runs."""
        return self._at_once

    @property
    def has_work(self) -> bool:
        """Whether inputs wait here."""
        return bool(self._queue)

    def _hello(self) -> Header:
        holding = [[key, attempt] for key, attempt in self._held.items()]
        build = os.environ.get("MODICUM_BUILD", "")
        return {"t": "agent.hello", "r": 1, "build": build, "holding": holding, "loaded": self._loaded}


def inputs_at_once(spec: dict[str, Any]) -> int:
    """Return how many inputs a container of a function runs at once."""
    concurrency = spec.get("concurrency")
    return 1 if concurrency is None else int(concurrency["max_inputs"])


def _refuse_breakpoint(*args: object, **kwargs: object) -> None:
    from modicum._interact import no_terminal

    raise no_terminal("breakpoint()")


def _failure(error: BaseException) -> tuple[str, bytes]:
    from modicum.agent.endings import failure

    return failure(error)


def _interrupted() -> BaseException:
    from modicum.agent.endings import interrupted

    return interrupted()

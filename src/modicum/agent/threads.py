"""How a container runs several sync inputs at once, or batches of them: each on one of a few threads."""

from __future__ import annotations

import threading
import time

from modicum import _context
from modicum.agent import output
from modicum.agent.batching import Batch
from modicum.agent.outputs import BATCH_S
from modicum.agent.running import Interruptible, run_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modicum.agent.loop import Agent, Input
    from modicum.agent.service import Service


STOP_S = 5.0
"""Where all is to end at once, user code that has been interrupted has so long to end before the exit hooks run."""


class Threads:
    """As many threads as inputs may run at once, made when they are needed. The main thread only waits for the end."""

    def __init__(self, agent: Agent, service: Service) -> None:
        self._agent = agent
        self._service = service
        self._lock = threading.RLock()  # SIGTERM's handler may come while the main thread has it
        self._work_came = threading.Condition(self._lock)
        self._more_came = threading.Condition(self._lock)
        self._main = threading.Condition(self._lock)
        self._threads = 0
        self._idle = 0
        self._collecting = False
        self._running: dict[str, tuple[Interruptible, Batch | None]] = {}

    def serve(self) -> None:
        """Run inputs until the agent is to exit."""
        self._agent.on_work, self._agent.on_cancel, self._agent.on_stop = self._on_work, self._cancel, self._stop
        self._on_work()
        while not self._is_over:
            self._flush_in_time()
        with self._lock:
            self._main.wait_for(lambda: not self._threads, STOP_S)
        self._agent.flush()

    @property
    def _is_over(self) -> bool:
        return self._agent.exiting and (self._agent.at_once or not self._threads)

    def _flush_in_time(self) -> None:
        """Send outputs that wait for company after a moment in which more may have come."""
        with self._lock:
            if not self._agent.has_unsent and not self._is_over:
                self._main.wait()
        if self._agent.has_unsent:
            time.sleep(BATCH_S)
            self._agent.flush()

    def _on_work(self) -> None:
        """Wake one thread, or start it: it does the same for the next if there is more."""
        with self._lock:
            if self._agent.exiting:
                for each in (self._work_came, self._more_came, self._main):
                    each.notify_all()
            if self._collecting:
                self._more_came.notify()
            elif self._idle:
                self._work_came.notify()
            elif self._threads < self._service.limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"modicum-{self._threads}", daemon=True).start()

    def _work(self) -> None:
        while (items := self._next()) is not None:
            if self._agent.has_work or self._agent.exiting:
                self._on_work()
            if self._service.batching is None:
                self._run(items[0])
            else:
                self._run_batch(items)
            if self._agent.has_unsent:
                self._tell_main()
        self._tell_main(ended=1)

    def _tell_main(self, ended: int = 0) -> None:
        with self._lock:
            self._threads -= ended
            self._main.notify()

    # -- taking --------------------------------------------------------------------------------------------

    @property
    def _batch_size(self) -> int:
        return 1 if self._service.batching is None else int(self._service.batching["max_batch_size"])

    def _next(self) -> list[Input] | None:
        """Return the next input, or a batch of them; None if the agent is to exit."""
        with self._lock:
            self._idle += 1
            try:
                while self._collecting or (item := self._agent.take()) is None:
                    if self._agent.exiting and not self._collecting:
                        return None
                    self._work_came.wait()
            finally:
                self._idle -= 1
            items = [item]
            if self._batch_size > 1:
                self._collect(items)
            return items

    def _collect(self, items: list[Input]) -> None:
        """Wait for the rest of a batch; meanwhile no other thread takes anything."""
        assert self._service.batching is not None
        until = time.monotonic() + self._service.batching["wait_ms"] / 1000
        self._collecting = True
        try:
            while len(items) < self._batch_size:
                item = self._agent.take()
                if item is not None:
                    items.append(item)
                    continue
                left = until - time.monotonic()
                if left <= 0 or self._agent.exiting:
                    break
                self._more_came.wait(left)
        finally:
            self._collecting = False

    # -- running -------------------------------------------------------------------------------------------

    def _run(self, item: Input) -> None:
        place = Interruptible(item[0])
        self._begin(place, None, [item])
        started = time.perf_counter()
        status, value = run_one(self._agent, self._service.target(item), item, place)
        run_s = time.perf_counter() - started
        printed = self._end(place, [item])
        self._agent.finish(item[0], item[1], status, run_s, value, printed)

    def _run_batch(self, items: list[Input]) -> None:
        place = Interruptible(items[0][0])
        target = self._service.target(items[0])
        batch = Batch(self._agent, target, list(items))
        self._begin(place, batch, items)
        started = time.perf_counter()
        error: BaseException | None = None
        values: object = None
        try:
            args, kwargs = batch.arguments()
            if batch.is_wanted:
                values = place.run(target.function, *args, **kwargs)
        except BaseException as raised:  # noqa: BLE001
            error = raised
        run_s = time.perf_counter() - started
        printed = self._end(place, items)
        if error is not None:
            batch.fail(error, run_s, printed)
        elif batch.is_wanted:
            batch.end(values, run_s, printed)

    def _begin(self, place: Interruptible, batch: Batch | None, items: list[Input]) -> None:
        for item in items:
            self._running[item[0]] = place, batch
        for item in items:
            if self._agent.is_cancelled(item[0]):  # since it was taken
                self._cancel(item[0])
        _context.enter(place.key)
        output.begin(place.key)

    def _end(self, place: Interruptible, items: list[Input]) -> bool:
        for item in items:
            self._running.pop(item[0], None)
        printed = output.end(place.key)
        _context.leave()
        return printed

    # -- ending early --------------------------------------------------------------------------------------

    def _cancel(self, key: str) -> None:
        place, batch = self._running.get(key, (None, None))
        if place is not None and (batch is None or not batch.cancel(key)):
            place.interrupt()

    def _stop(self) -> None:
        for place, _ in list(self._running.values()):
            place.interrupt()

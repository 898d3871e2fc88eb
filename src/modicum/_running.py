"""How an app comes to run: the server makes it, its images and its functions; and how it ends."""

from __future__ import annotations

import os

from modicum import _blobs, _blocking, _context, output
from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from modicum._exchange import Operation
    from modicum._session import Session, Sink
    from modicum._source import Source
    from modicum.app import App
    from modicum.function import Function


class Run:
    """A running app, as a context manager of either kind."""

    def __init__(self, app: App, name: str, sink: Sink | None = None, *, detach: bool = False) -> None:
        self._app = app
        self._name = name
        self._sink = sink
        self._detach = detach
        self._session: Session | None = None

    def __enter__(self) -> App:
        self._check()
        self._sink = self._sink or output.current
        self._tell("begins", "waiting for the server")
        try:
            _blocking.run(self._start())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self._app

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._app.app_id is None:
            return
        self._tell("begins", "stopping")
        try:
            _blocking.run(self._stop())
        except BaseException:  # an interrupt, most likely: what is not heard of now is lost, and nobody waits for it
            self._end(output_within_s=0)
            raise
        self._end()

    async def __aenter__(self) -> App:
        import asyncio

        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def _check(self) -> None:
        if not _context.is_local():
            raise InvalidError("app.run() cannot be called in a container; put it under `if __name__ == '__main__':`")
        if self._app.app_id is not None:
            raise InvalidError("the app is already running")

    def _start(self) -> Operation[None]:
        """Have the server make the app, its images and its functions; all again if the server is lost meanwhile."""
        from modicum._session import Session

        key = os.urandom(16).hex()
        while True:
            try:
                ((header, _),) = yield Request(({"t": "app.create", "name": self._name, "key": key}, b""))
                self._app.set_running(header["app"])
                if self._session is None:
                    self._session = Session(header["app"], self._sink)
                    self._session.start()
                self._tell("builds")
                images = yield from _create_functions(self._app, header["app"])
                self._tell("created", header["app"], self._name, len(self._app.functions), images)
                return
            except ConnectionLost:
                yield Reconnect()

    def _tell(self, what: str, *facts: object) -> None:
        """Tell a display how the app gets on; other sinks want its output alone."""
        told = getattr(self._sink, what, None)
        if told is not None:
            told(*facts)

    def _stop(self) -> Operation[None]:
        while True:
            try:
                yield Request(({"t": "app.stop", "app": self._app.app_id}, b""))
                return
            except ConnectionLost:
                yield Reconnect()

    def _end(self, output_within_s: float = 10.0) -> None:
        self._tell("ended", self._app.app_id)
        self._app.set_running(None)
        for function in self._app.functions.values():
            function.hydrate_with(None)
        if self._session is not None:
            self._session.join(output_within_s)
            self._session = None


def _create_functions(app: App, app_id: str) -> Operation[int]:
    """Make the functions callable; return of how many images they are."""
    functions = list(app.functions.values())
    steps = [app.image_of(function).steps for function in functions]
    distinct = [s for n, s in enumerate(steps) if s not in steps[:n]]
    built = yield Request(*(({"t": "image.build", "app": app_id, "steps": s}, b"") for s in distinct))
    images = [built[distinct.index(s)][0]["image"] for s in steps]
    sources = yield from _upload_sources(functions)
    created = yield Request(
        *(_creation(app_id, function, image, source) for function, image, source in zip(functions, images, sources))
    )
    for function, (header, _) in zip(functions, created):
        function.hydrate_with(header["function"])
    return len(set(images))


def _upload_sources(functions: list[Function[Any, Any, Any]]) -> Operation[list[Source | None]]:
    from modicum import _source  # a container never packs sources

    known: dict[str, Source] = {}
    sources: list[Source | None] = []
    for function in functions:
        if function.serialized:
            sources.append(None)
            continue
        module = function.__module__
        if module not in known:
            known[module] = _source.of(function.raw_function)
        sources.append(known[module])
    wanted = {source.blob: source for source in known.values()}
    if wanted:
        ((header, _),) = yield Request(({"t": "blob.missing", "blobs": list(wanted)}, b""))
        for blob in header["blobs"]:
            yield from _blobs.put(blob, wanted[blob].archive)
    return sources


def _creation(
    app_id: str, function: Function[Any, Any, Any], image: str, source: Source | None
) -> tuple[dict[str, Any], bytes]:
    header = {
        "t": "function.create",
        "app": app_id,
        "name": function.name,
        "image": image,
        "source": None if source is None else {"blob": source.blob, "layer": source.layer},
        "options": function.options.as_dict(),
        "spec": {
            "module": "" if source is None else source.module,
            "qualname": function.raw_function.__qualname__,
            "generator": function.is_generator,
            "async": function.is_async,
        },
    }
    return header, _serialize(function) if function.serialized else b""


def _serialize(function: Function[Any, Any, Any]) -> bytes:
    import cloudpickle

    raw = function.raw_function
    return bytes(cloudpickle.dumps(raw))

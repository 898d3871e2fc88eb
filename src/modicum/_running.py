"""How an app comes to run: the server makes it, its images and its functions; and how it ends."""

from __future__ import annotations

import os
import sys

from modicum import _blobs, _blocking, _context
from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum._old_names import Renamed, accepts
from modicum.exception import InvalidError, SerializationError
from modicum.options import check_flag, is_name
from modicum.wire.messages import INLINE_BYTES_MAX, SERIALIZED_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from modicum._exchange import Operation
    from modicum._session import Session, Sink
    from modicum._source import Source
    from modicum.app import App
    from modicum.function import Function


SERIALIZED_BYTES_LARGE = 256 * 1024
"""Above it a serialized function is worth a warning [FEATURES 3.14]."""


class Run:
    """A running app, as a context manager of either kind."""

    def __init__(self, app: App, name: str, sink: Sink | None = None, *, detach: bool = False) -> None:
        self._app = app
        self._name = name
        self._sink = sink
        self._detach = detach
        self._session: Session | None = None
        self._is_running = False
        self._hydrated: list[tuple[Function[Any, Any, Any], str]] = []

    def __enter__(self) -> App:
        self._check()
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
        try:
            _blocking.run(self._finish())
        finally:
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
            raise InvalidError("the app is already running; the same app cannot run inside itself")

    def _start(self) -> Operation[None]:
        """Have the server make the app, its images and its functions; all again if the server is lost meanwhile."""
        from modicum._session import Session

        key = os.urandom(16).hex()
        while True:
            try:
                facts = {"name": self._name, "detached": self._detach, "tags": self._app.tags}
                ((header, _),) = yield Request(({"t": "app.create", "key": key, **facts}, b""))
                self._app.set_running(header["app"])
                if self._session is None:
                    self._session = Session(header["app"], self._sink)
                    self._session.start()
                yield from self._create_functions(header["app"])
                self._is_running = True
                return
            except ConnectionLost:
                yield Reconnect()

    def _create_functions(self, app_id: str) -> Operation[None]:
        created = yield from _create_functions(self._app, app_id)
        self._dehydrate()  # of a server that was lost meanwhile
        self._hydrated = created
        for function, object_id in created:
            function.hydrate_with(object_id)

    def _finish(self) -> Operation[None]:
        """Say that the app is to end, or that it is left to itself."""
        kind = "app.leave" if self._detach and self._is_running else "app.stop"
        while True:
            try:
                yield Request(({"t": kind, "app": self._app.app_id}, b""))
                return
            except ConnectionLost:
                yield Reconnect()

    def _end(self) -> None:
        self._app.set_running(None)
        self._dehydrate()
        session, self._session = self._session, None
        if session is None:
            return
        if self._detach and self._is_running:
            session.leave()
        else:
            session.join()
        self._is_running = False

    def _dehydrate(self) -> None:
        for function, object_id in self._hydrated:
            function.dehydrate(object_id)
        self._hydrated = []


def _create_functions(app: App, app_id: str) -> Operation[list[tuple[Function[Any, Any, Any], str]]]:
    """Have the server build the images and make the functions; return their ids."""
    functions = list(app.functions.values())
    steps = [app.image_of(function).steps for function in functions]
    distinct = [s for n, s in enumerate(steps) if s not in steps[:n]]
    built = yield Request(*(({"t": "image.build", "app": app_id, "steps": s}, b"") for s in distinct))
    images = [built[distinct.index(s)][0]["image"] for s in steps]
    sources = yield from _upload_sources(functions)
    requests = []
    for function, image, source in zip(functions, images, sources):
        header, code = _creation(app_id, function, image, source)
        if len(code) > INLINE_BYTES_MAX:
            header["code"], large, code = _blobs.new_blob(), code, b""
            yield from _blobs.put(header["code"], large)
        requests.append((header, code))
    created = yield Request(*requests)
    return [(function, header["function"]) for function, (header, _) in zip(functions, created)]


def _upload_sources(functions: list[Function[Any, Any, Any]]) -> Operation[list[Source | None]]:
    from modicum import _source  # a container never packs sources

    known: dict[str, Source] = {}
    sources: list[Source | None] = []
    for function in functions:
        if function.serialized or not function.includes_source:
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
            "name": function.name,
            "module": "" if function.serialized else _module_of(function, source),
            "qualname": function.raw_function.__qualname__,
            "generator": function.is_generator,
            "async": function.is_async,
            "python": "{}.{}".format(*sys.version_info),
        },
    }
    return header, _serialize(function) if function.serialized else b""


def _module_of(function: Function[Any, Any, Any], source: Source | None) -> str:
    from modicum import _source

    return _source.module_of(function.raw_function) if source is None else source.module


def _serialize(function: Function[Any, Any, Any]) -> bytes:
    """Return the function itself. Raises `InvalidError` if it is too large, `SerializationError` if it cannot be."""
    import cloudpickle

    try:
        code = bytes(cloudpickle.dumps(function.raw_function))
    except Exception as error:
        raise SerializationError(
            f"the function {function.name!r} cannot be serialized: {type(error).__name__}: {error}; it takes along "
            "what it uses of the functions around it: make in it what cannot be pickled, or pass it as an argument"
        ) from error
    size = f"the function {function.name!r} has {len(code) / 2**20:.3g} MiB when it is serialized"
    advice = "it takes along what it uses of the functions around it: pass large values as arguments"
    if len(code) > SERIALIZED_BYTES_MAX:
        raise InvalidError(f"{size}, more than {SERIALIZED_BYTES_MAX >> 20} MiB; {advice}")
    if len(code) > SERIALIZED_BYTES_LARGE:
        import warnings

        from modicum._old_names import stack_depth

        warnings.warn(f"{size}, which every one of its containers has to load; {advice}", stacklevel=stack_depth())
    return code


class RunMethod:
    """`app.run`"""

    def __init__(self, app: App) -> None:
        self._app = app

    @accepts(Renamed("show_progress", "_show", told="with modicum.enable_output():"), name="app.run")
    def __call__(
        self,
        *,
        name: str | None = None,
        client: None = None,
        detach: bool = False,
        interactive: bool = False,
        environment_name: str | None = None,
        _show: bool = False,
    ) -> Run:
        if name is not None and not is_name(name):
            raise InvalidError(f"{name!r} is no name for an app: 1 to 64 letters, digits, '.', '_' or '-'")
        if environment_name not in (None, "", "main"):
            raise InvalidError(f"there is no environment {environment_name!r}: all apps are in one, `main`")
        for given, parameter in ((client, "client"), (interactive, "interactive")):
            if given:
                raise InvalidError(f"the parameter `{parameter}` of app.run is not in Modicum yet; leave it out")
        sink = None
        if _show:
            from modicum.output import LinePrinter

            sink = LinePrinter()
        return Run(self._app, name or self._app.name or "app", sink, detach=check_flag("detach", detach))

    def aio(self, **parameters: Any) -> Run:
        """The same: `async with app.run.aio():`"""
        return self(**parameters)

"""How an app comes to run: the server makes it, its images and its functions; and how it ends."""

from __future__ import annotations

import os
import sys

from modicum import _blobs, _blocking, _context, config, output
from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum._old_names import Renamed, accepts
from modicum.exception import InvalidError, SerializationError
from modicum.options import check_flag, is_name
from modicum.wire.frames import HEADER_BYTES_MAX
from modicum.wire.messages import INLINE_BYTES_MAX, SERIALIZED_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from modicum._exchange import Operation
    from modicum._files import FileSet
    from modicum._local_files import LocalFiles
    from modicum._session import Session, Sink
    from modicum._source import Source
    from modicum._uploads import Progress
    from modicum.app import App
    from modicum.function import Function
    from modicum.image import Image


SERIALIZED_BYTES_LARGE = 256 * 1024
"""Above it a serialized function is worth a warning [FEATURES 3.14]."""

STEPS_BYTES_MAX = HEADER_BYTES_MAX - 4096
"""They travel in one frame's header."""

SERIALIZED_BYTES_LARGE = 256 * 1024
"""Every container of a serialized function loads it: from this size on that is worth a warning."""


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
            _blocking.run(self._finish())
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
                self._tell("builds")
                images = yield from self._create_functions(header["app"])
                self._is_running = True
                self._tell("created", header["app"], self._name, len(self._app.functions), images)
                return
            except ConnectionLost:
                yield Reconnect()

    def _create_functions(self, app_id: str) -> Operation[int]:
        """Make the functions callable; return of how many images they are."""
        created, images = yield from _create_functions(self._app, app_id, getattr(self._sink, "uploads", None))
        self._dehydrate()  # of a server that was lost meanwhile
        self._hydrated = created
        for function, object_id in created:
            function.hydrate_with(object_id)
        return images

    def _tell(self, what: str, *facts: object) -> None:
        """Tell a display how the app gets on; other sinks want its output alone."""
        told = getattr(self._sink, what, None)
        if told is not None:
            told(*facts)

    def _finish(self) -> Operation[None]:
        """Say that the app is to end, or that it is left to itself."""
        kind = "app.leave" if self._detach and self._is_running else "app.stop"
        while True:
            try:
                yield Request(({"t": kind, "app": self._app.app_id}, b""))
                return
            except ConnectionLost:
                yield Reconnect()

    def _end(self, output_within_s: float = 10.0) -> None:
        self._tell("ended", self._app.app_id)
        self._app.set_running(None)
        self._dehydrate()
        session, self._session = self._session, None
        if session is None:
            return
        if self._detach and self._is_running:
            session.leave()
        else:
            session.join(output_within_s)
        self._is_running = False

    def _dehydrate(self) -> None:
        for function, object_id in self._hydrated:
            function.dehydrate(object_id)
        self._hydrated = []


def _create_functions(
    app: App, app_id: str, progress: Progress | None
) -> Operation[tuple[list[tuple[Function[Any, Any, Any], str]], int]]:
    """Have the server build the images and make the functions; return their ids, and of how many images they are."""
    functions = list(app.functions.values())
    images = [app.image_of(function) for function in functions]
    files = _read_files(images)
    sources = _read_sources(functions)
    sets = [*files.values(), *(source.files for source in sources.values())]
    built = yield from _build(list(dict.fromkeys(images)), app_id, sets, progress)
    requests = []
    for function, image in zip(functions, images):
        attached = [files[each].id for each in image.attached]
        header, code = _creation(app_id, function, built[image], attached, sources)
        if len(code) > INLINE_BYTES_MAX:
            header["code"], large, code = _blobs.new_blob(), code, b""
            yield from _blobs.put(header["code"], large)
        requests.append((header, code))
    created = yield Request(*requests)
    ids = [(function, header["function"]) for function, (header, _) in zip(functions, created)]
    return ids, len(set(built.values()))


class BuildNow:
    """`image.build`: call it to block, call its `aio` for a coroutine."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def __call__(self, app: App | None = None) -> Image:
        if app is None:
            from modicum.app import App

            with App("image-build").run() as app:
                return self(app)
        if app.app_id is None:
            raise InvalidError("the app does not run, so no image can be built in it; use `with app.run():`")
        _blocking.run(_build([self._image], app.app_id, list(_read_files([self._image]).values())))
        return self._image

    async def aio(self, app: App | None = None) -> Image:
        """The same, as a coroutine."""
        import asyncio

        return await asyncio.to_thread(self, app)


def _read_files(images: list[Image]) -> dict[LocalFiles, FileSet]:
    """Read the local files that images are made of, each once however many images have it."""
    distinct = dict.fromkeys(files for image in images for files in image.local_files)
    return {files: files.read() for files in distinct}


def _read_sources(functions: list[Function[Any, Any, Any]]) -> dict[str, Source]:
    from modicum import _source  # a container reads no sources

    with_source = {function.__module__: function for function in functions if _has_source(function)}
    return {module: _source.of(function.raw_function) for module, function in with_source.items()}


def _has_source(function: Function[Any, Any, Any]) -> bool:
    return not function.serialized and function.includes_source


def _build(
    images: list[Image], app_id: str, files: list[FileSet], progress: Progress | None = None
) -> Operation[dict[Image, str]]:
    """Upload `files` and what the steps need besides; have the images built, those that are the same once."""
    from modicum import _uploads  # a container uploads nothing

    resolutions = [image.resolve() for image in images]
    needed = [each for resolution in resolutions for each in resolution.uploads.values()]
    yield from _uploads.upload([*files, *needed], progress)
    steps = [resolution.steps for resolution in resolutions]
    distinct = [each for place, each in enumerate(steps) if each not in steps[:place]]
    _check_size(distinct)
    header = {"t": "image.build", "app": app_id, "ignore_cache": config.flag("IGNORE_CACHE")}
    built = yield Request(*(({**header, "steps": each}, b"") for each in distinct))
    ids = [answer["image"] for answer, _ in built]
    found = {image: ids[distinct.index(each)] for image, each in zip(images, steps)}
    for image, image_id in found.items():
        image.set_built(image_id)
    return found


def _check_size(images: list[list[dict[str, Any]]]) -> None:
    import json

    size = max((len(json.dumps(steps)) for steps in images), default=0)
    if size > STEPS_BYTES_MAX:
        raise InvalidError(
            f"the steps of an image are {size:,} bytes, and can be {STEPS_BYTES_MAX:,}: put long commands and large "
            "requirements into files, and add those with `add_local_file(…, copy=True)`"
        )


def _creation(
    app_id: str, function: Function[Any, Any, Any], image: str, files: list[str], sources: dict[str, Source]
) -> tuple[dict[str, Any], bytes]:
    source = sources[function.__module__] if _has_source(function) else None
    header = {
        "t": "function.create",
        "app": app_id,
        "name": function.name,
        "image": image,
        "files": files if source is None else [*files, source.files.id],
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

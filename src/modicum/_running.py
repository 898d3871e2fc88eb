"""How an app comes to run: the server makes it, its images and its functions; and how it ends."""

from __future__ import annotations

import os

from modicum import _blocking, _context, config
from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum.exception import InvalidError, RequestSizeError, SerializationError
from modicum.wire.frames import HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX

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


STEPS_BYTES_MAX = HEADER_BYTES_MAX - 4096
"""They travel in one frame's header."""

SERIALIZED_BYTES_LARGE = 256 * 1024
"""Every container of a serialized function loads it: from this size on that is worth a warning."""


class Run:
    """A running app, as a context manager of either kind."""

    def __init__(self, app: App, name: str, sink: Sink | None = None, progress: Progress | None = None) -> None:
        self._app = app
        self._name = name
        self._sink = sink
        self._progress = progress
        """Called as the upload of the program's files gets on, if there is anything to upload."""
        self._session: Session | None = None

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
            _blocking.run(self._stop())
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
                yield from _create_functions(self._app, header["app"], self._progress)
                return
            except ConnectionLost:
                yield Reconnect()

    def _stop(self) -> Operation[None]:
        while True:
            try:
                yield Request(({"t": "app.stop", "app": self._app.app_id}, b""))
                return
            except ConnectionLost:
                yield Reconnect()

    def _end(self) -> None:
        self._app.set_running(None)
        for function in self._app.functions.values():
            function.hydrate_with(None)
        if self._session is not None:
            self._session.join()
            self._session = None


def _create_functions(app: App, app_id: str, progress: Progress | None) -> Operation[None]:
    functions = list(app.functions.values())
    images = [app.image_of(function) for function in functions]
    files = _read_files(images)
    sources = _read_sources(functions)
    sets = [*files.values(), *(source.files for source in sources.values())]
    built = yield from _build(list(dict.fromkeys(images)), app_id, sets, progress)
    created = yield Request(
        *(
            _creation(app_id, function, built[image], [files[each].id for each in image.attached], sources)
            for function, image in zip(functions, images)
        )
    )
    for function, (header, _) in zip(functions, created):
        function.hydrate_with(header["function"])


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

    with_source = {function.__module__: function for function in functions if not function.serialized}
    return {module: _source.of(function.raw_function) for module, function in with_source.items()}


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
    source = None if function.serialized else sources[function.__module__]
    header = {
        "t": "function.create",
        "app": app_id,
        "name": function.name,
        "image": image,
        "files": files if source is None else [*files, source.files.id],
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
    """Return the function itself as bytes. Raises `SerializationError` or `RequestSizeError`."""
    import cloudpickle

    try:
        data = bytes(cloudpickle.dumps(function.raw_function))
    except Exception as error:
        text = f"the function {function.name!r} cannot be serialized: {type(error).__name__}: {error}"
        raise SerializationError(text) from error
    if len(data) <= SERIALIZED_BYTES_LARGE:
        return data
    large = (
        f"the function {function.name!r} takes {len(data):,} bytes when it is serialized, because of the values that "
        "it refers to; have it load or make them, or move it to a file and leave out serialized=True"
    )
    if len(data) > PAYLOAD_BYTES_MAX:
        raise RequestSizeError(f"{large}. It may take {PAYLOAD_BYTES_MAX:,}")
    import warnings

    warnings.warn(large, stacklevel=2)
    return data

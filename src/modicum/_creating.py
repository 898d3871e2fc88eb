"""How the functions of an app come to be at the server: each with its image, its files and, if it is sent, its code."""

from __future__ import annotations

import sys

from modicum import _blobs, _building, _remarks
from modicum._exchange import Request
from modicum.exception import InvalidError, SerializationError
from modicum.wire.messages import INLINE_BYTES_MAX, SERIALIZED_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation
    from modicum._source import Source
    from modicum._uploads import Progress
    from modicum.app import App
    from modicum.function import Function
    from modicum.secret import Secret

SERIALIZED_BYTES_LARGE = 256 * 1024
"""Every container of a serialized function loads it: from this size on that is worth a warning."""


def create_functions(
    app: App, app_id: str, progress: Progress | None
) -> Operation[tuple[list[tuple[Function[Any, Any, Any], str]], int]]:
    """Have the server build the images and make the functions; return their ids, and of how many images they are."""
    functions = list(app.functions.values())
    images = [app.image_of(function) for function in functions]
    files = _building.read_files(images)
    sources = _read_sources(functions)
    sets = [*files.values(), *(source.files for source in sources.values())]
    built = yield from _building.build(list(dict.fromkeys(images)), app_id, sets, progress)
    secrets = yield from _create_secrets(app, functions)
    requests = []
    for function, image in zip(functions, images):
        attached = [files[each].id for each in image.attached]
        header, code = _creation(app_id, function, built[image], attached, sources)
        header["options"] = function.options.as_dict([each.object_id for each in secrets[function]])
        if len(code) > INLINE_BYTES_MAX:
            header["code"], large, code = _blobs.new_blob(), code, b""
            yield from _blobs.put(header["code"], large)
        requests.append((header, code))
    created = yield Request(*requests)
    _remarks.tell(header for header, _ in created)
    ids = [(function, header["function"]) for function, (header, _) in zip(functions, created)]
    return ids, len(set(built.values()))


def _create_secrets(
    app: App, functions: list[Function[Any, Any, Any]]
) -> Operation[dict[Function[Any, Any, Any], list[Secret]]]:
    """Have the server keep the secrets of functions; return those of each."""
    found = {function: app.secrets_of(function) for function in functions}
    named = [each for secrets in found.values() for each in secrets]
    if named:
        from modicum import secret  # most programs have none

        yield from secret.create(named)
    return found


def _read_sources(functions: list[Function[Any, Any, Any]]) -> dict[str, Source]:
    from modicum import _source  # a container reads no sources

    with_source = {function.__module__: function for function in functions if _has_source(function)}
    return {module: _source.of(function.raw_function) for module, function in with_source.items()}


def _has_source(function: Function[Any, Any, Any]) -> bool:
    return not function.serialized and function.includes_source


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
        "spec": {
            "name": function.name,
            "module": "" if function.serialized else _module_of(function, source),
            "qualname": function.raw_function.__qualname__,
            "generator": function.is_generator,
            "async": function.is_async,
            "python": "{}.{}".format(*sys.version_info),
            **function.facts,
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

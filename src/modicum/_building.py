"""How images come to be at the server: the files that they are made of go up, then the server has them built."""

from __future__ import annotations

from modicum import _blocking, config
from modicum._exchange import Request
from modicum.exception import InvalidError
from modicum.wire.frames import HEADER_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation
    from modicum._files import FileSet
    from modicum._local_files import LocalFiles
    from modicum._uploads import Progress
    from modicum.app import App
    from modicum.image import Image, Step

STEPS_BYTES_MAX = HEADER_BYTES_MAX - 4096
"""They travel in one frame's header."""


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
        _blocking.run(build([self._image], app.app_id, list(read_files([self._image]).values())))
        return self._image

    async def aio(self, app: App | None = None) -> Image:
        """The same, as a coroutine."""
        import asyncio

        return await asyncio.to_thread(self, app)


def read_files(images: list[Image]) -> dict[LocalFiles, FileSet]:
    """Read the local files that images are made of, each once however many images have it."""
    distinct = dict.fromkeys(files for image in images for files in image.local_files)
    return {files: files.read() for files in distinct}


def build(
    images: list[Image], app_id: str, files: list[FileSet], progress: Progress | None = None
) -> Operation[dict[Image, str]]:
    """Upload `files` and what the steps need besides; have the images built, those that are the same once."""
    from modicum import _uploads  # a container uploads nothing

    resolutions = [image.resolve() for image in images]
    needed = [each for resolution in resolutions for each in resolution.uploads.values()]
    yield from _uploads.upload([*files, *needed], progress)
    steps = yield from _with_secrets([resolution.steps for resolution in resolutions])
    distinct = [each for place, each in enumerate(steps) if each not in steps[:place]]
    _check_size(distinct)
    header = {"t": "image.build", "app": app_id, "ignore_cache": config.flag("IGNORE_CACHE")}
    built = yield Request(*(({**header, "steps": each}, b"") for each in distinct))
    ids = [answer["image"] for answer, _ in built]
    found = {image: ids[distinct.index(each)] for image, each in zip(images, steps)}
    for image, image_id in found.items():
        image.set_built(image_id)
    return found


def _with_secrets(images: list[list[Step]]) -> Operation[list[list[Step]]]:
    """Have the server keep the secrets of steps; return the steps with ids in their place."""
    named = [each for steps in images for step in steps for each in step.get("secrets", ())]
    if not named:
        return images
    from modicum import secret

    yield from secret.create(named)
    return [[_with_ids(step) if "secrets" in step else step for step in steps] for steps in images]


def _with_ids(step: Step) -> Step:
    return {**step, "secrets": [each.object_id for each in step["secrets"]]}


def _check_size(images: list[list[dict[str, Any]]]) -> None:
    import json

    size = max((len(json.dumps(steps)) for steps in images), default=0)
    if size > STEPS_BYTES_MAX:
        raise InvalidError(
            f"the steps of an image are {size:,} bytes, and can be {STEPS_BYTES_MAX:,}: put long commands and large "
            "requirements into files, and add those with `add_local_file(…, copy=True)`"
        )

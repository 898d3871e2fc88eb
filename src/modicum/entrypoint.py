"""What a local entrypoint is: the function of a program that runs at home, while its app's run in containers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from modicum.app import App


class LocalEntrypoint:
    """A function that runs in the user's own process; calling it is calling the function."""

    def __init__(self, raw: Callable[..., Any], name: str, app: App) -> None:
        self.raw = raw
        self.name = name
        self.app = app
        self.__doc__ = raw.__doc__
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.raw(*args, **kwargs)

"""How an app comes to run, and how it ends."""

from __future__ import annotations

import os

from modicum import _blocking, _context, output
from modicum._creating import create_functions
from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum._old_names import Renamed, accepts
from modicum.exception import InvalidError
from modicum.options import check_flag, is_name, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from modicum._exchange import Operation
    from modicum._interactions import Interactions
    from modicum._session import Session, Sink
    from modicum.app import App
    from modicum.function import Function


class Run:
    """A running app, as a context manager of either kind."""

    def __init__(
        self, app: App, name: str, sink: Sink | None = None, *, detach: bool = False, interactive: bool = False
    ) -> None:
        self._app = app
        self._name = name
        self._sink = sink
        self._detach = detach
        self._interactive = interactive
        self._interactions: Interactions | None = None
        self._session: Session | None = None
        self._is_running = False
        self._hydrated: list[tuple[Function[Any, Any, Any], str]] = []

    def __enter__(self) -> App:
        self._check()
        self._sink = self._sink or output.current
        if self._interactive:
            from modicum._interactions import check

            check(output.current)
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
        if not self._app.is_running:
            self._tell("ended", None)  # it never began
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
            raise InvalidError(
                "an app cannot be run or deployed from a container; put that under `if __name__ == '__main__':`"
            )
        if self._app.is_running:
            raise InvalidError("the app is already running; the same app cannot run inside itself")

    def _start(self) -> Operation[None]:
        """Have the server make the app, its images and its functions; all again if the server is lost meanwhile."""
        from modicum._session import Session

        key = os.urandom(16).hex()
        while True:
            try:
                ((header, _),) = yield Request(({"t": "app.create", "key": key, **self._creation()}, b""))
                self._app.set_running(header["app"])
                if self._session is None:
                    self._session = Session(header["app"], self._sink)
                    self._session.start()
                    if self._interactive:
                        self._take_interactions(header["app"])
                self._tell("builds")
                images = yield from self._create_functions(header["app"])
                self._is_running = True
                self._has_begun(header["app"], images)
                return
            except ConnectionLost:
                yield Reconnect()

    def _take_interactions(self, app_id: str) -> None:
        from modicum._interactions import Interactions

        assert output.current is not None
        output.current.interactive()
        self._interactions = Interactions(app_id, output.current)
        self._interactions.start()

    def _creation(self) -> dict[str, Any]:
        return {"name": self._name, "detached": self._detach, "tags": self._app.tags}

    def _has_begun(self, app_id: str, images: int) -> None:
        self._tell("created", app_id, self._name, len(self._app.functions), images)

    def _create_functions(self, app_id: str) -> Operation[int]:
        """Make the functions callable; return of how many images they are."""
        created, images = yield from create_functions(self._app, app_id, getattr(self._sink, "uploads", None))
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
        interactions, self._interactions = self._interactions, None
        if interactions is not None:
            interactions.close()
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


class _ShownRun(Run):
    """A running app whose output is shown while it runs: programs of earlier years ask for it by `show_progress`."""

    def __init__(self, app: App, name: str, *, detach: bool = False, interactive: bool = False) -> None:
        super().__init__(app, name, detach=detach, interactive=interactive)
        self._showing = output.show_on()

    def __enter__(self) -> App:
        self._showing.__enter__()
        try:
            return super().__enter__()
        except BaseException:
            self._showing.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        finally:
            self._showing.__exit__(None, None, None)


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
        refuse("app.run", client=client)
        kind = _ShownRun if _show else Run
        how = {"detach": check_flag("detach", detach), "interactive": check_flag("interactive", interactive)}
        return kind(self._app, name or self._app.name or "app", **how)

    def aio(self, **parameters: Any) -> Run:
        """The same: `async with app.run.aio():`"""
        return self(**parameters)

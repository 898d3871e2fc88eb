"""How an app is deployed: what it is made of is made ready beside what runs, then published in one step."""

from __future__ import annotations

import os

from modicum._creating import create_functions
from modicum._exchange import Request
from modicum._lookup import check_environment
from modicum._old_names import accepts
from modicum._running import Run
from modicum.exception import InvalidError
from modicum.options import check_tags, is_name, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation
    from modicum._session import Sink
    from modicum.app import App
    from modicum.function import Function

STRATEGIES = ("rolling", "recreate")
TAG_LENGTH_MAX = 63


class Publication(Run):
    """The run of a draft, which is published as the deployed app of a name or, with `into`, in a running app.

    `with publication: ...` has it done when the block begins; then `answer` is the server's.
    """

    def __init__(self, app: App, name: str, sink: Sink | None = None, *, into: str | None = None, **facts: str) -> None:
        super().__init__(app, name, sink)
        self._target = {"name": name} if into is None else {"app": into}
        self._facts = {"strategy": "rolling", **facts}
        self._key = os.urandom(16).hex()
        self.answer: dict[str, Any] = {}
        self.functions: list[tuple[Function[Any, Any, Any], str]] = []

    def _creation(self) -> dict[str, Any]:
        return {**super()._creation(), "draft": True, "told": "app" in self._target}

    def _create_functions(self, app_id: str) -> Operation[int]:
        created, images = yield from create_functions(self._app, app_id, getattr(self._sink, "uploads", None))
        request = {"t": "app.publish", "draft": app_id, "key": self._key, **author(), **self._target, **self._facts}
        ((self.answer, _),) = yield Request((request, b""))
        ids = self.answer["functions"]
        self.functions = [(function, ids[function.name]) for function, _ in created]
        return images

    def _has_begun(self, app_id: str, images: int) -> None:
        version = self.answer["version"] if "name" in self._target else None
        self._tell("published", self._name, version, self.answer["changed"], len(self.functions), images)


def author() -> dict[str, str]:
    """Return who publishes, and with which client."""
    import getpass

    from modicum import __version__

    try:
        by = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        by = str(os.getuid())
    return {"by": by, "client": __version__}


def check_strategy(strategy: object) -> str:
    """Return a strategy. Raises `InvalidError` if it is none."""
    if strategy not in STRATEGIES:
        raise InvalidError(f"strategy must be 'rolling' or 'recreate', not {strategy!r}")
    return str(strategy)


class DeployMethod:
    """`app.deploy`"""

    def __init__(self, app: App) -> None:
        self._app = app

    @accepts(name="app.deploy")
    def __call__(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: None = None,
        strategy: str = "rolling",
    ) -> App:
        refuse("app.deploy", client=client)
        check_environment(environment_name)
        deploy(self._app, name, tag=tag, strategy=strategy)
        return self._app

    async def aio(self, **parameters: Any) -> App:
        """The same, as a coroutine."""
        import asyncio

        return await asyncio.to_thread(self, **parameters)


def deploy(app: App, name: str | None, *, tag: str = "", strategy: str = "rolling") -> dict[str, Any]:
    """Deploy an app; return what the server says of it now."""
    name = deployment_name(app, name)
    if tag and not is_name(tag, TAG_LENGTH_MAX):
        raise InvalidError(f"{tag!r} is no tag: 1 to {TAG_LENGTH_MAX} letters, digits, '.', '_' or '-'")
    if app.app_id is not None and not app.functions:
        raise InvalidError(
            f"the app {name!r} was only looked up: without functions here it would lose those that it has; deploy the "
            "app of its program, or end it with .stop()"
        )
    publication = Publication(app, name, tag=tag or "", strategy=check_strategy(strategy))
    with publication:
        pass
    app.set_deployed(publication.answer["app"], publication.functions)
    return publication.answer


def deployment_name(app: App, name: str | None) -> str:
    """Return under which name an app is deployed. Raises `InvalidError` if it has none."""
    from modicum.app import App

    if name is not None:
        return str(App(name).name)  # it checks the name
    if app.name is None:
        raise InvalidError("the app has no name to be deployed under: App('my-app'), or deploy with a name")
    return app.name


__all__ = ["DeployMethod", "Publication", "author", "check_strategy", "check_tags", "deploy", "deployment_name"]

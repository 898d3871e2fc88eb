"""What an app is at the server: deployed, looked up, tagged and stopped."""

from __future__ import annotations

from modicum import _lookup, options
from modicum._both import both
from modicum._missing import Explained
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from modicum._app_types import AppInfo
    from modicum._exchange import Operation
    from modicum._publishing import DeployMethod
    from modicum.app import App
    from modicum.function import Function


def look_up(
    name: str, *, client: None = None, environment_name: str | None = None, create_if_missing: bool = False
) -> Operation[App]:
    """Find a deployed app by its name, or any app by its id (`ap-…`).

    With `create_if_missing` an empty one is deployed if there is none of that name. Raises `NotFoundError`.
    """
    options.refuse("App.lookup", client=client)
    if not options.is_name(name):
        raise InvalidError(f"{name!r} is no name for an app: 1 to 64 letters, digits, '.', '_' or '-'")
    if options.is_app_id(name) and create_if_missing:
        raise InvalidError("create_if_missing makes an app of a name; an id is of an app that there is")
    if not options.is_app_id(name):
        _lookup.check_environment(environment_name)
    from modicum.app import App

    facts = yield from _lookup.ask({"t": "app.lookup", "app": name, "create": create_if_missing})
    app = App(facts["name"], tags=facts["tags"])
    app.set_deployed(facts["app"], [])
    return app


class Deployable(Explained):
    """The part of `App` that is about its life at the server."""

    _deployed_id: str | None

    @property
    def app_id(self) -> str | None:
        """The app's id, if it has one."""
        raise NotImplementedError

    @property
    def deploy(self) -> DeployMethod:
        """Deploy the app, so that it can be called by name from anywhere until it is stopped: `app.deploy()`.

        What is deployed under its name, or under `name`, is replaced as a whole and at once; if an image cannot be
        built, nothing changes. `tag` is for you, in the history of its versions. With `strategy="recreate"` containers
        of what it was end at once, otherwise when those of the new version are ready. Returns the app.
        """
        from modicum._publishing import DeployMethod  # a container deploys nothing

        app: Any = self  # it is the only kind there is
        return DeployMethod(app)

    @both
    def stop(self, *, client: None = None) -> Operation[None]:
        """Stop the app for good: its containers end, what waits fails, and its name is free."""
        options.refuse("app.stop", client=client)
        yield from _lookup.ask({"t": "app.stop", "app": self._there("stop")})

    @both
    def set_tags(self, tags: Mapping[str, str], *, client: None = None) -> Operation[None]:
        """Put tags in the place of all those that the app has at the server."""
        options.refuse("app.set_tags", client=client)
        checked = options.check_tags("tags", dict(tags))
        yield from _lookup.ask({"t": "app.tag", "app": self._there("set_tags"), "tags": checked})

    @both
    def get_tags(self, *, client: None = None) -> Operation[dict[str, str]]:
        """Return the tags that the app has at the server."""
        options.refuse("app.get_tags", client=client)
        facts = yield from _lookup.ask({"t": "app.lookup", "app": self._there("get_tags")})
        return dict(facts["tags"])

    @both
    def info(self, refresh: bool = False) -> Operation[AppInfo]:
        """Return what the server knows of the app now: its state and version, when it was deployed, its functions."""
        from modicum._app_types import app_info

        facts = yield from _lookup.ask({"t": "app.info", "app": self._there("info")})
        return app_info(facts)

    def _there(self, method: str) -> str:
        """Return the app's id. Raises `InvalidError` if there is none."""
        if self.app_id is None:
            raise InvalidError(
                f"app.{method}() is of an app at the server: run it, deploy it, or find it by `App.lookup('name')`"
            )
        return self.app_id

    def set_deployed(self, app_id: str, functions: list[tuple[Function[Any, Any, Any], str]]) -> None:
        """Note under which id the app is deployed, and its functions."""
        self._deployed_id = app_id
        for function, object_id in functions:
            function.hydrate_with(object_id)

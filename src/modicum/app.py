"""What an app is: functions that are deployed and run together."""

from __future__ import annotations

from modicum import _context, _lookup, options
from modicum._both import Both, both
from modicum._decorating import FunctionDecorator
from modicum._exchange import ask
from modicum._missing import Explained
from modicum._old_names import accepts, say, stack_depth
from modicum.entrypoint import LocalEntrypoint
from modicum.exception import InvalidError
from modicum.function import Function
from modicum.image import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any, ParamSpec, TypeVar, dataclass_transform

    from modicum._exchange import Operation
    from modicum._publishing import DeployMethod
    from modicum._running import RunMethod
    from modicum.cls import Cls, parameter
    from modicum.retries import Retries
    from modicum.schedule import Schedule
    from modicum.secret import Secret
    from modicum.types import AppInfo

    P = ParamSpec("P")
    R = TypeVar("R")
    K = TypeVar("K", bound=type[Any])
else:
    parameter = None

    def dataclass_transform(**facts):
        """Stand for `typing`'s, which takes long to import: type checkers see that one."""
        return lambda function: function


def _look_up(
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
    facts, _ = yield from ask({"t": "app.lookup", "app": name, "create": create_if_missing})
    app = App(facts["name"], tags=facts["tags"])
    app.set_deployed(facts["app"], [])
    return app


class App(Explained):
    """A group of functions under one name.

        app = modicum.App("my-app")

        @app.function()
        def double(x: int) -> int:
            return 2 * x

    `image` is the default image of its functions, `secrets` are given to all of them, `include_source` says whether
    their source goes into their containers by itself, `tags` are for you. Raises `InvalidError` for a name that is not
    1 to 64 characters of letters, digits, `.`, `_` and `-`, or that looks like an app's id.
    """

    @accepts(*options.APP_OLD_NAMES, name="modal.App")
    def __init__(
        self,
        name: str | None = None,
        *,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        secrets: Sequence[Any] = (),
        volumes: dict[Any, Any] = {},  # noqa: B006 - it is only read
        include_source: bool = True,
    ) -> None:
        if name is not None and (not options.is_name(name) or options.is_app_id(name)):
            raise InvalidError(
                f"{name!r} is no name for an app: 1 to 64 letters, digits, '.', '_' or '-', and no app's id"
            )
        given = {"image": image, "secrets": secrets, "volumes": volumes, "include_source": include_source}
        options.read_some("modal.App", given)
        self.name = name
        self.tags = options.check_tags("tags", tags)
        self.include_source = include_source
        self._image = image
        self._secrets: list[Secret] = options.read_secrets("secrets", secrets)
        self._functions: dict[str, Function[Any, Any, Any]] = {}
        self._classes: dict[str, Cls] = {}
        self._entrypoints: dict[str, LocalEntrypoint] = {}
        self._app_id: str | None = None
        self._deployed_id: str | None = None

    @property
    def app_id(self) -> str | None:
        """The id (`ap-…`) under which the app runs or was deployed or looked up, None while there is none."""
        return self._app_id or self._deployed_id or _context.app

    @property
    def is_running(self) -> bool:
        """Whether `app.run()` is under way."""
        return self._app_id is not None

    @property
    def description(self) -> str | None:
        """The app's name."""
        return self.name

    @property
    def functions(self) -> dict[str, Function[Any, Any, Any]]:
        """The app's functions by name."""
        return dict(self._functions)

    @property
    def classes(self) -> dict[str, Cls]:
        """The app's classes by name; each is served by the function `Name.*`."""
        return dict(self._classes)

    @property
    def entrypoints(self) -> dict[str, LocalEntrypoint]:
        """The app's local entrypoints by name."""
        return dict(self._entrypoints)

    @accepts(*options.OLD_NAMES, name="@app.function")
    def function(
        self,
        *misplaced: object,
        image: Image | None = None,
        schedule: Schedule | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Any] | None = None,
        gpu: str | list[str] | None = None,
        serialized: bool = False,
        network_file_systems: dict[Any, Any] = {},  # noqa: B006 - it is only read
        volumes: dict[Any, Any] = {},  # noqa: B006 - it is only read
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        proxy: object = None,
        retries: int | Retries | None = None,
        timeout: int = 300,
        startup_timeout: int | None = None,
        name: str | None = None,
        is_generator: bool | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        enable_memory_snapshot: bool = False,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        i6pn: bool | None = None,
        include_source: bool | None = None,
        experimental_options: dict[str, Any] | None = None,
        _experimental_restrict_output: bool = False,
    ) -> FunctionDecorator:
        """Decorate a function so that it can run in containers.

        `image` is what its containers are made of (by default the app's, else `Image.debian_slim()`). Containers start
        as inputs come, at most `max_containers`, at least `min_containers` while the app runs, `buffer_containers` more
        than have work while there is any, and end after `scaledown_window` seconds (2 to 3600, 60 if not given) without
        work, with `single_use_containers` after one input. `timeout` limits each attempt to run an input and
        `startup_timeout` (by default the same) a container's start, in seconds; `retries` is how often an input that
        failed runs again. `schedule`, a `modal.Cron` or a `modal.Period`, has it run by itself. `secrets` and `env`,
        which wins, are environment variables that nobody else sees. `block_network` leaves a container no way out; with
        `restrict_modal_access` its code cannot use Modicum, and callers take values of built-in types from it alone.
        `serialized` ships the function itself in place of its module's file, `include_source=False` neither; `name` is
        its name in the app. What `options.WITHOUT_EFFECT` lists is accepted and changes nothing.

        Raises `InvalidError` for a value that makes no sense, and for the other parameters: they are yet to come.
        """
        given = {**locals()}
        if misplaced:
            raise TypeError("write the decorator with parentheses, @app.function(), and its parameters by name")
        return FunctionDecorator(self, options.read("@app.function", given))

    @dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
    @accepts(*options.OLD_NAMES, name="@app.cls")
    def cls(
        self,
        *misplaced: object,
        image: Image | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Any] | None = None,
        gpu: str | list[str] | None = None,
        serialized: bool = False,
        network_file_systems: dict[Any, Any] = {},  # noqa: B006 - it is only read
        volumes: dict[Any, Any] = {},  # noqa: B006 - it is only read
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        proxy: object = None,
        retries: int | Retries | None = None,
        timeout: int = 300,
        startup_timeout: int | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        enable_memory_snapshot: bool = False,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        i6pn: bool | None = None,
        include_source: bool | None = None,
        experimental_options: dict[str, Any] | None = None,
        _experimental_restrict_output: bool = False,
    ) -> Callable[[K], K]:
        """Decorate a class whose methods run in containers, on an object that each container makes once.

            @app.cls()
            class Model:
                @modal.enter()
                def load(self): ...

                @modal.method()
                def generate(self, prompt: str) -> str: ...

            Model().generate.remote("…")

        All methods share the class's containers. The parameters are those of `@app.function`. Raises `InvalidError`
        for a class that a container could not make: `__init__` takes no arguments, those are `modal.parameter()`.
        """
        given = {**locals()}
        if misplaced:
            raise TypeError("write the decorator with parentheses, @app.cls(), and its parameters by name")
        from modicum._class_decorator import ClassDecorator

        return ClassDecorator(self, options.read("@app.cls", given))

    @accepts(name="@app.local_entrypoint")
    def local_entrypoint(
        self, *misplaced: object, name: str | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate the function that `modicum run` calls in your own process while the app runs."""
        if misplaced:
            raise TypeError("write the decorator with parentheses: @app.local_entrypoint()")

        def decorate(raw: Callable[P, R]) -> Callable[P, R]:
            if isinstance(raw, Function):
                raise InvalidError(
                    f"{raw.name!r} is a function for containers, it cannot be a local entrypoint as well"
                )
            if isinstance(raw, type) or not callable(raw):
                raise InvalidError(f"@app.local_entrypoint() decorates a function, not {raw!r}")
            tag = name or raw.__name__
            if tag in self._entrypoints:
                raise InvalidError(f"the app has a local entrypoint {tag!r} already")
            entrypoint = self._entrypoints[tag] = LocalEntrypoint(raw, tag, self)
            return entrypoint

        return decorate

    @property
    def run(self) -> RunMethod:
        """Run the app while the block lasts: `with app.run():`, or `async with app.run():`.

        At its end all its containers are gone; with `detach=True` it lives on at the server if this program ends, until
        what was spawned has ended. With `interactive=True` its functions may use this terminal, to be debugged by
        `breakpoint()` or `pdb`: output must be enabled then. `name` is its name at the server, by default its own.
        Raises `InvalidError` if the app runs already, this is a container, or there is no terminal.
        """
        from modicum._running import RunMethod  # a container runs no apps

        return RunMethod(self)

    @property
    def deploy(self) -> DeployMethod:
        """Deploy the app, so that it can be called by name from anywhere until it is stopped: `app.deploy()`.

        What is deployed under its name, or under `name`, is replaced as a whole and at once; if an image cannot be
        built, nothing changes. `tag` is for you, in the history of its versions. With `strategy="recreate"` containers
        of what it was end at once, otherwise when those of the new version are ready. Returns the app.
        """
        from modicum._publishing import DeployMethod  # a container deploys nothing

        return DeployMethod(self)

    @both
    def stop(self, *, client: None = None) -> Operation[None]:
        """Stop the app for good: its containers end, what waits fails, and its name is free."""
        options.refuse("app.stop", client=client)
        yield from ask({"t": "app.stop", "app": self._there("stop")})

    @both
    def set_tags(self, tags: Mapping[str, str], *, client: None = None) -> Operation[None]:
        """Put tags in the place of all those that the app has at the server."""
        options.refuse("app.set_tags", client=client)
        checked = options.check_tags("tags", dict(tags))
        yield from ask({"t": "app.tag", "app": self._there("set_tags"), "tags": checked})

    @both
    def get_tags(self, *, client: None = None) -> Operation[dict[str, str]]:
        """Return the tags that the app has at the server."""
        options.refuse("app.get_tags", client=client)
        facts, _ = yield from ask({"t": "app.lookup", "app": self._there("get_tags")})
        return dict(facts["tags"])

    @both
    def info(self, refresh: bool = False) -> Operation[AppInfo]:
        """Return what the server knows of the app now: its state and version, when it was deployed, its functions."""
        from modicum._app_types import app_info

        facts, _ = yield from ask({"t": "app.info", "app": self._there("info")})
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

    def include(self, /, other_app: App, inherit_tags: bool = True) -> App:
        """Make the functions of another app this one's too, and its tags; returns this app.

        They keep the image that their own app gives them. One that has the name of a function of this app replaces it,
        with a warning.
        """
        if not isinstance(other_app, App):
            raise InvalidError(f"app.include() takes another modal.App, not {other_app!r}")
        for function in other_app.functions.values():
            self.register(function)
        self._classes.update(other_app.classes)
        if inherit_tags:
            self.tags = {**other_app.tags, **self.tags}
        return self

    def register(self, function: Function[Any, Any, Any]) -> None:
        """Add a function; one of the same name is replaced, with a warning."""
        if self._functions.get(function.name, function) is not function and _context.is_local():
            import warnings

            warnings.warn(
                f"the app has two functions named {function.name!r}; the later one replaces the earlier",
                stacklevel=stack_depth(),
            )
        self._functions[function.name] = function

    def register_class(self, name: str, cls: Cls) -> None:
        """Add a class, whose function is registered by itself."""
        self._classes[name] = cls

    def image_of(self, function: Function[Any, Any, Any]) -> Image:
        """Return the image that a function's containers are made of."""
        default = self if function.app is None else function.app
        return function.image or default._image or Image.debian_slim()

    def secrets_of(self, function: Function[Any, Any, Any]) -> list[Secret]:
        """Return the secrets of a function's containers, the later one wins: its app's, then its own."""
        default = self if function.app is None else function.app
        return [*default._secrets, *function.options.secrets]

    lookup = Both(_look_up)

    def set_running(self, app_id: str | None) -> None:
        """Note under which id the app runs now."""
        self._app_id = app_id

    # -- older names ---------------------------------------------------------------------------------------

    @property
    def image(self) -> Image:
        """The default image of the app's functions; give it to `App(image=…)`."""
        say("app.image", "App(image=…)")
        return self._image or Image.debian_slim()

    @image.setter
    def image(self, value: Image) -> None:
        say("app.image = …", "App(image=…)")
        self._image = options.check_image("image", value)

    @property
    def registered_functions(self) -> dict[str, Function[Any, Any, Any]]:
        """The app's functions by name."""
        say("app.registered_functions", "app.functions")
        return self.functions

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint]:
        """The app's local entrypoints by name."""
        say("app.registered_entrypoints", "app.entrypoints")
        return self.entrypoints

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """The app's classes by name."""
        say("app.registered_classes", "app.classes")
        return self.classes

    @property
    def registered_web_endpoints(self) -> list[str]:
        """The names of the app's web functions: none, they are yet to come."""
        say("app.registered_web_endpoints", "app.functions")
        return []

    def __getitem__(self, name: str) -> object:
        raise InvalidError("objects are not kept on an app any longer: use the global variable that was decorated")

    def __repr__(self) -> str:
        return f"modicum.App({self.name!r})"


__all__ = ["App", "LocalEntrypoint"]

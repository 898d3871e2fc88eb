"""How what is only named is found at the server: with its first use, and not before."""

from __future__ import annotations

from modicum._exchange import ask
from modicum._old_names import Dropped, Renamed, accepts, say
from modicum.exception import ExecutionError, InvalidError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation
    from modicum.function import Function
    from modicum.wire.frames import Header


@accepts(Renamed("tag", "name"), Renamed("label", "name"), Dropped("namespace"), name="Function.from_name")
def from_name(
    app_name: str,
    name: str,
    *,
    version: int | None = None,
    environment_name: str | None = None,
    client: None = None,
) -> Function[..., Any, Any]:
    """Return a function of a deployed app. Asks nobody: the server is asked at its first use.

    With `version` it stays what it was in that version of the app, in containers of its own, and so does what it calls
    of the app. The first use raises `NotFoundError` if there is no such app, function or version.
    """
    check_names(app_name, name, version)
    refuse_client("Function.from_name", client)
    if "." in name and not name.endswith(".*"):  # `Model.*` is how a class is called, for `Cls.from_name`
        model, _, method = name.rpartition(".")
        say(f"Function.from_name(…, {name!r})", f"Cls.from_name(…, {model!r})().{method}")
    return named(name, {"app": app_name, "name": name, "version": version}, environment_name)


def check_names(app_name: str, name: str, version: int | None) -> None:
    """Raise `InvalidError` for what names nothing of an app."""
    for what, given in (("an app", app_name), ("what is in one", name)):
        if not isinstance(given, str) or not given:
            raise InvalidError(f"{given!r} is no name of {what}")
    if version is not None and (type(version) is not int or version < 1):
        raise InvalidError(f"version must be a whole number from 1 up, not {version!r}")


def from_id(function_id: str, client: None = None) -> Function[..., Any, Any]:
    """Return the function with this id. Asks nobody: an id that does not exist is noticed by its first use.

    Raises `InvalidError` if it is not the id of a function.
    """
    check_id(function_id, "fu", "a function")
    refuse_client("Function.from_id", client)
    return named(function_id, {"function": function_id})


def lookup(app_name: str, name: str, **parameters: Any) -> Function[..., Any, Any]:
    """Return a function of a deployed app, after seeing that there is one."""
    say("Function.lookup(…)", "Function.from_name(…)")
    return from_name(app_name, name, **parameters).hydrate()


def named(name: str, header: dict[str, Any], environment: str | None = None) -> Function[..., Any, Any]:
    """Return a function of which only that is known which lookup finds it."""
    from modicum.function import Function

    raw: Any = NotHere(name)
    elsewhere: Any = None  # what it asks of the platform is defined where its app is
    function: Function[..., Any, Any] = Function(raw, name, elsewhere, None, None, None, serialized=False)
    function._find = Finding(function, header, environment)
    return function


def check_environment(name: str | None) -> None:
    """Raise `NotFoundError` unless there is such an environment; all apps are in one."""
    if name not in (None, "", "main"):
        raise NotFoundError(f"there is no environment {name!r}: all apps are in one, 'main'")


def check_id(object_id: object, prefix: str, what: str) -> None:
    """Raise `InvalidError` unless this is the id of such an object."""
    if not isinstance(object_id, str) or not object_id.startswith(f"{prefix}-"):
        raise InvalidError(f"{object_id!r} is not the id of {what}; those begin with '{prefix}-'")


def refuse_client(owner: str, client: object) -> None:
    """Raise `InvalidError` for a client: there is one server, that of `MODICUM_HOME`."""
    if client is not None:
        raise InvalidError(f"the parameter `client` of {owner} is not in Modicum yet; leave it out")


class Finding:
    """What a function that is only named does at its first use: it asks for its id, and for what it is."""

    def __init__(self, function: Function[Any, Any, Any], header: Header, environment: str | None = None) -> None:
        self._function = function
        self._header = {"t": "function.lookup", **header}
        self._environment = environment
        self.object_id: str | None = header.get("function")

    def __call__(self) -> Operation[str]:
        check_environment(self._environment)
        found, _ = yield from ask(self._header)
        function, spec = self._function, found["spec"]
        function.facts = spec
        function.method = found.get("method", function.method)
        if self.object_id is not None:
            function.name = found["name"]
        if function.method is not None:
            spec = spec.get("methods", {}).get(function.method, spec)
        function.facts = found["spec"]
        function.is_generator, function.is_async = spec["generator"], spec["async"]
        return str(found["function"])


class NotHere:
    """Stands for the code of a function that is only named."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.__module__ = ""

    def __call__(self, *args: object, **kwargs: object) -> Any:
        raise ExecutionError(
            f"the code of {self.__name__!r} is not here, the function is only named: call `.remote(…)` to run it in a "
            "container"
        )

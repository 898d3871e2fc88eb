"""How what is only named is found at the server: with its first use, and not before."""

from __future__ import annotations

from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum.exception import ExecutionError, InvalidError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation
    from modicum.function import Function
    from modicum.wire.frames import Header


def ask(header: Header) -> Operation[dict[str, Any]]:
    """Return the answer to a request, over as many connections as it takes. Raises what the server answers with."""
    while True:
        try:
            ((answer, _),) = yield Request((header, b""))
            return answer  # type: ignore[no-any-return]
        except ConnectionLost:
            yield Reconnect()


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
        found = yield from ask(self._header)
        function, spec = self._function, found["spec"]
        function.method = found.get("method", function.method)
        if self.object_id is not None:
            function.name = found["name"]
        if function.method is not None:
            spec = spec.get("methods", {}).get(function.method, spec)
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

"""What objects with names have in common: they are found at their first use, listed and deleted; some live for a block.

A class of such objects derives from `NamedObject` and says what it is:

    class Dict(NamedObject):
        kind, prefix = "dict", "di"

Then it has `object_id`, `name` and, from the server, whatever `facts` hold of it; `objects()` makes its manager.
"""

from __future__ import annotations

import os

from modicum import _blocking
from modicum._both import both
from modicum._exchange import ConnectionLost, Reconnect, Request, ask
from modicum._lookup import check_environment, check_id, refuse_client
from modicum._missing import Explained
from modicum._types import Generic
from modicum.exception import DeserializationError, Error, InvalidError, NotFoundError, SerializationError
from modicum.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any, TypeVar

    from modicum._exchange import Operation
    from modicum.wire.frames import Frame, Header

    _T = TypeVar("_T", bound="NamedObject")
    _Self = TypeVar("_Self", bound="NamedObject")
else:
    _T = _Self = None

PAGE = 100
"""Objects that are listed by one request."""


def new_request() -> str:
    """Return the name of a new request: who asks makes it up, so that asking twice is asking once."""
    return "rq-" + os.urandom(11).hex()


def ask_once(header: Header, payload: bytes = b"") -> Operation[Frame]:
    """Return the answer to a request that is done once: it is named, and when it is made again that is said."""
    header = {**header, "request": new_request()}
    while True:
        try:
            (answer,) = yield Request((header, payload))
            return answer  # type: ignore[no-any-return]
        except ConnectionLost:
            yield Reconnect()
            header = {**header, "again": True}


def check_name(name: object, what: str) -> None:
    """Raise `InvalidError` for what is no name of an object."""
    import re

    if (
        not isinstance(name, str)
        or not re.fullmatch(r"[a-zA-Z0-9-_.]{1,64}", name)
        or re.fullmatch(r"ap-[a-zA-Z0-9]{22}", name)
    ):
        raise InvalidError(
            f"Invalid {what} name: {name!r}. Names have 1 to 64 letters, digits, dashes, periods and underscores, and "
            "do not look like the id of an App"
        )


def serialized(value: object, what: str) -> bytes:
    """Return a value as bytes. Raises `SerializationError` if it has none."""
    try:
        return values.dumps(value)
    except Exception as error:
        raise SerializationError(
            f"{what} cannot be stored: {type(error).__name__}: {error}; store plain data, and make what "
            "cannot be pickled where it is used"
        ) from error


def loaded(data: bytes, what: Callable[[], str]) -> Any:
    """Return the value that bytes are of. Raises `DeserializationError` if it cannot be here; `what` names it then."""
    try:
        return values.loads(data)
    except Exception as error:
        raise DeserializationError(
            f"{what()} cannot be loaded here: {type(error).__name__}: {error}; are the packages that its type needs "
            "installed in this environment?"
        ) from error


def listed(kind: str, count_max: int | None, before: float | None, **more: Any) -> Operation[list[dict[str, Any]]]:
    """Return what the server knows of the objects that have names, the newest first; `more` is what it is asked for."""
    found: list[dict[str, Any]] = []
    while count_max is None or len(found) < count_max:
        count = PAGE if count_max is None else min(PAGE, count_max - len(found))
        answer, _ = yield from ask({"t": "object.list", "kind": kind, "count": count, "before": before, **more})
        found += answer["objects"]
        if len(answer["objects"]) < count:
            break
        before = found[-1]["created_at"]
    return found


class NamedObject(Explained):
    """An object of the server's that is known by its name or its id."""

    kind = ""
    """What the server calls such objects."""

    prefix = ""
    """How their ids begin."""

    _name: str | None
    _object_id: str | None
    _environment: str | None
    _create: bool
    _facts: dict[str, Any] | None

    def __init__(self, *args: object, **kwargs: object) -> None:
        what = type(self).__name__
        raise RuntimeError(
            f"`{what}(...)` constructor is not allowed. Please use `{what}.from_name` or `{what}.ephemeral` instead"
        )

    @classmethod
    def _make(
        cls: type[_Self],
        name: str | None = None,
        object_id: str | None = None,
        environment: str | None = None,
        create: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> _Self:
        made = cls.__new__(cls)
        made._name, made._object_id, made._environment, made._create = name, object_id, environment, create
        made._facts = facts
        return made

    @classmethod
    def _named(
        cls: type[_Self], name: str, environment_name: str | None, create_if_missing: bool, client: None
    ) -> _Self:
        check_name(name, cls.__name__)
        refuse_client(f"{cls.__name__}.from_name", client)
        return cls._make(name, None, environment_name, create_if_missing)

    @classmethod
    def _with_id(cls: type[_Self], object_id: str, client: None) -> _Self:
        check_id(object_id, cls.prefix, f"a {cls.__name__}")
        refuse_client(f"{cls.__name__}.from_id", client)
        return cls._make(object_id=object_id)

    @classmethod
    def _known(cls: type[_Self], facts: dict[str, Any]) -> _Self:
        return cls._make(facts["name"], facts["id"], facts=facts)

    @property
    def object_id(self) -> str:
        """The object's id. Raises `AttributeError` before its first use, or `hydrate()`."""
        if self._object_id is None:
            raise AttributeError
        return self._object_id

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name == "object_id":  # the property has raised: here its error gets its text
                raise AttributeError(f"{self!r} has no id yet: call `.hydrate()` first")
            return super().__getattr__(name)

    @property
    def name(self) -> str | None:
        """The object's name, None if it has none or is not known by it yet."""
        return self._name

    def ready(self) -> Operation[str]:
        """Return the id, asked for at the first use. Raises `NotFoundError` if there is no such object."""
        if self._object_id is None:
            yield from self.facts()
        return self.object_id

    def facts(self) -> Operation[dict[str, Any]]:
        """Return what the server knows of the object; it is asked once."""
        if self._facts is None:
            check_environment(self._environment)
            self._facts, _ = yield from ask(self._question())
            self._object_id, self._name = self._facts["id"], self._facts["name"]
        return self._facts

    def _question(self) -> Header:
        if self._object_id is not None:
            return {"t": "object.lookup", "kind": self.kind, "id": self._object_id}
        if self._create:
            return {"t": "object.create", "kind": self.kind, "name": self._name, "by": author()}
        return {"t": "object.lookup", "kind": self.kind, "name": self._name}

    def __repr__(self) -> str:
        kind = type(self).__name__
        if self._name is not None:
            return f"modal.{kind}.from_name({self._name!r})"
        return f"modal.{kind}.from_id({self._object_id!r})"

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)


def author() -> str:
    """Return who makes something here."""
    from modicum._publishing import author

    return author()["by"]


class Manager(Generic[_T]):
    """`X.objects`: makes, lists and deletes objects that have names."""

    def __init__(self, kind: type[_T]) -> None:
        self._kind = kind

    @both
    def create(
        self,
        name: str,
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: None = None,
    ) -> Operation[None]:
        """Make an object of that name. Raises `AlreadyExistsError` if there is one, unless `allow_existing`.

        Returns nothing; `from_name` finds it.
        """
        self._check("create", name, environment_name, client)
        header = {"t": "object.create", "kind": self._kind.kind, "name": name, "by": author()}
        lost = False
        while True:
            try:
                # What was made just before a server was lost must not be taken for somebody else's.
                yield Request(({**header, "fail_if_exists": not allow_existing and not lost}, b""))
                return
            except ConnectionLost:
                lost = True
                yield Reconnect()

    @both
    def list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime | str | None = None,
        environment_name: str = "",
        client: None = None,
    ) -> Operation[builtins.list[_T]]:
        """Return the objects that have names, the newest first: at most so many, of those made before a time.

        `created_before` is a time, or one in ISO 8601; without a zone it is this machine's.
        """
        check_environment(environment_name)
        refuse_client(f"{self._kind.__name__}.objects.list", client)
        if max_objects is not None and (not isinstance(max_objects, int) or max_objects < 0):
            raise InvalidError("max_objects cannot be negative")
        found = yield from listed(self._kind.kind, max_objects, _timestamp(created_before))
        return [self._kind._known(facts) for facts in found]

    @both
    def delete(
        self,
        name: str,
        *,
        allow_missing: bool = False,
        environment_name: str | None = None,
        client: None = None,
    ) -> Operation[None]:
        """Delete an object and all that is in it. Raises `NotFoundError` if there is none, unless `allow_missing`."""
        self._check("delete", name, environment_name, client)
        header = {"t": "object.lookup", "kind": self._kind.kind, "name": name}
        try:
            facts, _ = yield from ask(header)
        except NotFoundError:
            if not allow_missing:
                raise
        else:
            yield from _delete(self._kind.kind, facts["id"])

    def _check(self, verb: str, name: str, environment_name: str | None, client: None) -> None:
        check_name(name, self._kind.__name__)
        check_environment(environment_name)
        refuse_client(f"{self._kind.__name__}.objects.{verb}", client)


def _delete(kind: str, object_id: str) -> Operation[None]:
    """Delete an object; one that is gone meanwhile is what was wanted."""
    try:
        yield from ask({"t": "object.delete", "kind": kind, "id": object_id})
    except NotFoundError:
        pass


def _timestamp(moment: datetime | str | None) -> float | None:
    if moment is None:
        return None
    from datetime import datetime as _datetime

    try:
        return (_datetime.fromisoformat(moment) if isinstance(moment, str) else moment).timestamp()
    except (ValueError, AttributeError, OverflowError):
        raise InvalidError(f"created_before must be a datetime, or a time in ISO 8601, not {moment!r}") from None


class objects(Generic[_T]):  # noqa: N801 - it is read as an attribute
    """The attribute `objects` of a class: its manager."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type[_T]) -> Manager[_T]: ...

    else:

        def __get__(self, instance, owner):
            return Manager(owner)


class Ephemeral(Generic[_T]):
    """A context in which there is an object without a name. It is kept alive by a connection of its own."""

    def __init__(self, kind: type[_T], environment_name: str | None, client: None) -> None:
        refuse_client(f"{kind.__name__}.ephemeral", client)
        self._kind = kind
        self._environment = environment_name
        self._made: _T | None = None

    def __enter__(self) -> _T:
        return self._begun(_blocking.run(self._create()))

    def __exit__(self, *exc: object) -> None:
        _blocking.run(self._end())

    async def __aenter__(self) -> _T:
        from modicum import _async

        return self._begun(await _async.run(self._create()))

    async def __aexit__(self, *exc: object) -> None:
        from modicum import _async

        await _async.run(self._end())

    def _create(self) -> Operation[dict[str, Any]]:
        check_environment(self._environment)
        facts, _ = yield from ask({"t": "object.create", "kind": self._kind.kind, "by": author()})
        return facts

    def _begun(self, facts: dict[str, Any]) -> _T:
        import threading

        self._made = self._kind._known(facts)
        # It ends with the object, or with this process.
        threading.Thread(target=self._hold, args=(facts["id"],), name="modicum-ephemeral", daemon=True).start()
        return self._made

    def _hold(self, object_id: str) -> None:
        try:
            _blocking.run(ask({"t": "object.hold", "kind": self._kind.kind, "id": object_id}))
        except Error:
            pass  # it is gone, or the server is; whoever uses it hears of that

    def _end(self) -> Operation[None]:
        assert self._made is not None
        yield from _delete(self._kind.kind, self._made.object_id)


def local_time(seconds: float) -> datetime:
    """Return a time since the epoch in the zone of this machine."""
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc).astimezone()  # noqa: UP017 - `datetime.UTC` is of 3.11


__all__ = ["Ephemeral", "Manager", "NamedObject", "ask_once", "check_name", "new_request", "objects"]

"""A dictionary that all containers and clients share: `Dict`."""

from __future__ import annotations

from modicum import _blobs
from modicum._both import both, both_iter
from modicum._exchange import ConnectionLost, Item, Reconnect, Request, ask
from modicum._object import Ephemeral, NamedObject, ask_once, loaded, local_time, new_request, objects, serialized
from modicum._old_names import Dropped, Refused, Renamed, accepts, say
from modicum.exception import InvalidError, NotFoundError, RequestSizeError
from modicum.wire import values
from modicum.wire.frames import PAYLOAD_BYTES_MAX
from modicum.wire.messages import DICT_KEY_BYTES_MAX, DICT_UPDATE_MAX, DICT_VALUE_BYTES_MAX, PACK_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from modicum._exchange import Operation
    from modicum.types import DictInfo

REPLACED_MAX = 20
"""A large value that is replaced again and again while it is read is asked for so often."""


class _NoDefault:
    def __repr__(self) -> str:
        return "..."


_NO_DEFAULT = _NoDefault()

_DATA = Refused("data", "make the dict first, then `d.update(data)`")


class Dict(NamedObject):
    """A dictionary that all containers and clients share.

    Keys and values are whatever cloudpickle takes; two keys are the same if they pickle to the same bytes. An entry
    expires seven days after it was last read or written. What was put is on the disk when `put` returns.

        d = modal.Dict.from_name("my-dict", create_if_missing=True)
        d["key"] = 1
        assert d["key"] == 1

    Methods block; each has an async twin, `await d.put.aio("key", 1)`.
    """

    kind, prefix = "dict", "di"

    objects: objects[Dict] = objects()

    @staticmethod
    @accepts(Renamed("label", "name"), Dropped("namespace"), _DATA, name="Dict.from_name")
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: None = None,
    ) -> Dict:
        """Return the dict of that name. Asks nobody: the server is asked at its first use.

        That raises `NotFoundError` if there is none, unless it is to be made then.
        """
        return Dict._named(name, environment_name, create_if_missing, client)

    @staticmethod
    def from_id(dict_id: str, client: None = None) -> Dict:
        """Return the dict with this id. Asks nobody. Raises `InvalidError` if it is not the id of a dict."""
        return Dict._with_id(dict_id, client)

    @classmethod
    @accepts(_DATA, name="Dict.ephemeral")
    def ephemeral(cls, *, client: None = None, environment_name: str | None = None) -> Ephemeral[Dict]:
        """Return a context in which there is a dict without a name: `with Dict.ephemeral() as d:`, or `async with`.

        It is gone after the block, and soon after the end of the process that made it.
        """
        return Ephemeral(Dict, environment_name, client)

    @staticmethod
    @accepts(Renamed("label", "name"), Dropped("namespace"), _DATA, name="Dict.lookup")
    def lookup(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: None = None,
    ) -> Dict:
        """Return the dict of that name, after seeing that there is one."""
        say("Dict.lookup(…)", "Dict.from_name(…)")
        return Dict._named(name, environment_name, create_if_missing, client).hydrate()

    @staticmethod
    @accepts(Renamed("deployment_name", "name"), Renamed("label", "name"), Dropped("namespace"), _DATA)
    def create_deployed(name: str, *, environment_name: str | None = None, client: None = None) -> str:
        """Make a dict of that name unless there is one, and return its id."""
        say("Dict.create_deployed(…)", "Dict.objects.create(…)")
        return Dict._named(name, environment_name, True, client).hydrate().object_id

    @staticmethod
    @accepts(Renamed("label", "name"))
    def delete(name: str, *, environment_name: str | None = None, client: None = None) -> None:
        """Delete the dict of that name."""
        say("Dict.delete(…)", "Dict.objects.delete(…)")
        Dict.objects.delete(name, environment_name=environment_name, client=client)

    @both
    def hydrate(self, client: None = None) -> Operation[Dict]:
        """See that there is such a dict; then its id is known. Raises `NotFoundError` if there is none."""
        yield from self.facts()
        return self

    def resolve(self) -> Dict:
        """See that there is such a dict."""
        say("Dict.resolve()", "Dict.hydrate()")
        return self.hydrate()

    @both
    def info(self) -> Operation[DictInfo]:
        """Return the dict's name, and when and by whom it was made."""
        from modicum.types import DictInfo

        facts = yield from self.facts()
        return DictInfo(facts["name"], local_time(facts["created_at"]), facts["created_by"])

    @both
    def clear(self) -> Operation[None]:
        """Take all entries out."""
        yield from ask_once({"t": "dict.clear", "dict": (yield from self.ready())})

    @both
    def get(self, key: Any, default: Any | None = None) -> Operation[Any]:
        """Return the value of a key, or `default`."""
        found, value = yield from self._get(key)
        return value if found else default

    @both
    def contains(self, key: Any) -> Operation[bool]:
        """Return whether there is an entry with this key."""
        return (yield from self._contains(key))

    @both
    def len(self) -> Operation[int]:
        """Return how many entries there are; it counts up to 100,000."""
        answer, _ = yield from ask({"t": "dict.len", "dict": (yield from self.ready())})
        return int(answer["len"])

    @both
    def update(self, other: Mapping[Any, Any] | None = None, /, **kwargs: Any) -> Operation[None]:
        """Put the entries of a mapping, and named ones: all at once, 10,000 at the most."""
        if other is not None and not hasattr(other, "keys"):
            raise InvalidError(f"Dict.update takes a mapping, not {type(other).__name__}: make one of it, dict(…)")
        entries = {} if other is None else {key: other[key] for key in other.keys()}  # noqa: SIM118 - a mapping
        yield from self._update({**entries, **kwargs}, skip=False)

    @both
    def put(self, key: Any, value: Any, *, skip_if_exists: bool = False) -> Operation[bool]:
        """Set the value of a key. With `skip_if_exists` only if there is none; returns whether it was set.

        Of many who do that at once with the same key exactly one gets True.
        """
        return (yield from self._update({key: value}, skip_if_exists))

    @both
    def pop(self, key: Any, default: Any = _NO_DEFAULT) -> Operation[Any]:
        """Take an entry out and return its value. Raises `KeyError` if there is none, unless there is a default."""
        found, value = yield from self._pop(key)
        if not found and default is _NO_DEFAULT:
            raise self._missing(key)
        return value if found else default

    @both_iter
    def keys(self) -> Operation[None]:
        """Iterate over the keys, in no order. What is put or popped meanwhile may come or not."""
        yield from self._contents(False, lambda key, value: self._key_of(key))

    @both_iter
    def values(self) -> Operation[None]:
        """Iterate over the values, in no order."""
        yield from self._contents(True, lambda key, value: self._value_of(value, key))

    @both_iter
    def items(self) -> Operation[None]:
        """Iterate over keys and values, in no order."""
        yield from self._contents(True, lambda key, value: (self._key_of(key), self._value_of(value, key)))

    def __getitem__(self, key: Any) -> Any:
        """Return the value of a key. Raises `KeyError`. It blocks; `get.aio` does not."""
        value = self.get(key, _NO_DEFAULT)
        if value is _NO_DEFAULT:
            raise self._missing(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set the value of a key. It blocks; `put.aio` does not."""
        self.put(key, value)

    def __delitem__(self, key: Any) -> None:
        """Take an entry out. Raises `KeyError`. It blocks; `pop.aio` does not."""
        self.pop(key)

    def __contains__(self, key: Any) -> bool:
        """Return whether there is an entry with this key. It blocks; `contains.aio` does not."""
        return self.contains(key)

    # -- how ---------------------------------------------------------------------------------------------------

    def _missing(self, key: Any) -> KeyError:
        return KeyError(f"{key} not in dict {self._object_id}")

    def _get(self, key: Any) -> Operation[tuple[bool, Any]]:
        yield from self.ready()
        data = _key(key)
        value = yield from self._read(data)
        return (False, None) if value is None else (True, self._value_of(value, data))

    def _read(self, key: bytes, blob: str | None = None) -> Operation[bytes | None]:
        """Return the bytes of a value, None if there is none. `blob` is which it was when it was last looked at."""
        header = {"t": "dict.get", "dict": self.object_id}
        for _ in range(REPLACED_MAX):
            if blob is None:
                answer, payload = yield from ask(header, key)
                blob = answer.get("blob")
                if blob is None:
                    return payload if answer["found"] else None
            try:
                return (yield from _fetch(blob))
            except NotFoundError:
                blob = None  # it has been replaced meanwhile
        raise NotFoundError(f"{self._named_by(key)} is gone, or replaced faster than it can be read")

    def _contains(self, key: Any) -> Operation[bool]:
        answer, _ = yield from ask({"t": "dict.contains", "dict": (yield from self.ready())}, _key(key))
        return bool(answer["found"])

    def _pop(self, key: Any) -> Operation[tuple[bool, Any]]:
        header = {"t": "dict.pop", "dict": (yield from self.ready())}
        data = _key(key)
        answer, payload = yield from ask_once(header, data)
        if not answer["found"]:
            return False, None
        if answer["blob"] is not None:
            payload = yield from _fetch(answer["blob"])
            yield from ask({"t": "blob.free", "blob": answer["blob"]})
        return True, self._value_of(payload, data)

    def _update(self, entries: Mapping[Any, Any], skip: bool) -> Operation[bool]:
        dict_id = yield from self.ready()
        if len(entries) > DICT_UPDATE_MAX:
            raise InvalidError(f"{len(entries):,} entries in one update of {self!r}; {DICT_UPDATE_MAX:,} is the most")
        if not entries:
            return False
        told: list[list[Any]] = []
        parts: list[bytes] = []
        large: dict[str, bytes] = {}
        for key, value in entries.items():
            data, bytes_ = _key(key), _value(key, value)
            blob = None
            if len(data) + len(bytes_) > PAYLOAD_BYTES_MAX:
                blob = _blobs.new_blob()
                large[blob], bytes_ = bytes_, b""
            told.append([len(data), len(bytes_), blob])
            parts += [data, bytes_]
        header = {"t": "dict.update", "dict": dict_id, "request": new_request(), "entries": told, "skip": skip}
        return bool((yield from send_packed(header, b"".join(parts), large))["created"])

    def _contents(self, with_values: bool, make: Any) -> Operation[None]:
        header: dict[str, Any] = {"t": "dict.contents", "dict": (yield from self.ready()), "values": with_values}
        after: str | None = ""
        while after is not None:
            answer, payload = yield from ask({**header, "after": after})
            start = 0
            for key_size, value_size, blob in answer["entries"]:
                middle, end = start + key_size, start + key_size + value_size
                key = payload[start:middle]
                value: bytes | None = payload[middle:end]
                start = end
                if with_values and blob is not None:
                    value = yield from self._read(key, blob)
                if value is not None:  # else it has been popped meanwhile
                    yield Item(make(key, value))
            after = answer["next"]

    def _key_of(self, data: bytes) -> Any:
        return loaded(data, lambda: f"a key of {self!r}")

    def _value_of(self, data: bytes, key: bytes) -> Any:
        return loaded(data, lambda: self._named_by(key))

    def _named_by(self, key: bytes) -> str:
        """Name a value, by its key if that can be loaded."""
        try:
            return f"the value for key {values.loads(key)!r} of {self!r}"
        except Exception:  # noqa: BLE001 - then it is told without it
            return f"the value of {self!r}"


def send_packed(header: dict[str, Any], data: bytes, large: Mapping[str, bytes]) -> Operation[dict[str, Any]]:
    """Ask with much to carry: what is too much for a frame goes as blobs first. Returns the answer."""
    if len(data) > PACK_BYTES_MAX:
        raise RequestSizeError(f"{len(data):,} bytes in one request; {PACK_BYTES_MAX:,} is the most: send it in parts")
    if len(data) > PAYLOAD_BYTES_MAX:
        packed = _blobs.new_blob()
        header, large, data = {**header, "packed": packed}, {**large, packed: data}, b""
    while True:
        try:
            for blob, bytes_ in large.items():
                yield from _blobs.put(blob, bytes_)
            ((answer, _),) = yield Request((header, data))
            return answer  # type: ignore[no-any-return]
        except ConnectionLost:
            yield Reconnect()
            header = {**header, "again": True}


def _fetch(blob: str) -> Operation[bytes]:
    while True:
        try:
            return bytes((yield from _blobs.get(blob)))
        except ConnectionLost:
            yield Reconnect()


def _key(key: Any) -> bytes:
    data = serialized(key, f"the key {key!r}")
    if len(data) > DICT_KEY_BYTES_MAX:
        raise RequestSizeError(
            f"a key of {len(data):,} bytes is too large for a Dict; {DICT_KEY_BYTES_MAX:,} is the most: use its hash"
        )
    return data


def _value(key: Any, value: Any) -> bytes:
    data = serialized(value, f"the value for the key {key!r}")
    if len(data) > DICT_VALUE_BYTES_MAX:
        raise RequestSizeError(
            f"the value for the key {key!r} has {len(data) / 2**20:.1f} MiB; a Dict takes {DICT_VALUE_BYTES_MAX >> 20} "
            "MiB: put it into a file, or in parts"
        )
    return data


__all__ = ["Dict"]

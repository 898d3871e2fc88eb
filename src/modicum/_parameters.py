"""What `modal.parameter()` stands for: the parameters of a class, their types, and their values as bytes.

Each set of values has containers of its own, so equal sets are to be equal bytes: all values, by name, as JSON.
"""

from __future__ import annotations

import json

from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TYPES: dict[str, type] = {"str": str, "int": int, "bool": bool, "bytes": bytes}

BYTES_MAX = 16 << 10
"""The values of one set, in all, as with Modal."""


class _Nothing:
    def __repr__(self) -> str:
        return "<no default>"


NOTHING: Any = _Nothing()


class Parameter:
    """One parameter, where it stands on its class."""

    def __init__(self, default: object, init: bool) -> None:
        self.default = default
        self.init = init
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        if self.default is NOTHING:
            raise AttributeError(f"{self.name!r} has no value: it has no default and none was set")
        return self.default


class Field:
    """What is known of a parameter: its type, and its default if it has one."""

    __slots__ = ("default", "type")

    def __init__(self, kind: str, default: object = NOTHING) -> None:
        self.type = kind
        self.default = default


Fields = dict[str, Field]


def of_class(kind: type) -> Fields:
    """Return the parameters of a class and its bases. Raises `InvalidError` for one of a type that does not go."""
    found: Fields = {}
    for base in reversed(kind.__mro__):
        declared = {name: value for name, value in vars(base).items() if isinstance(value, Parameter) and value.init}
        annotations = _annotations(base) if declared else {}
        for name, parameter in declared.items():
            if name not in annotations:
                raise InvalidError(f"the parameter {name!r} of {kind.__name__!r} needs a type: `{name}: str = …`")
            field = Field(_type_of(kind, base, name, annotations[name]), parameter.default)
            if field.default is not NOTHING:
                _check(kind.__name__, name, field, field.default)
            found[name] = field
    return found


def _annotations(base: type) -> dict[str, Any]:
    try:
        return dict(base.__annotations__)
    except NameError:  # of Python 3.14: another attribute's type exists for type checkers only
        import importlib

        annotationlib = importlib.import_module("annotationlib")
        return dict(annotationlib.get_annotations(base, format=annotationlib.Format.FORWARDREF))


def _type_of(kind: type, base: type, name: str, annotation: Any) -> str:
    shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", repr(annotation))
    if isinstance(annotation, str) and annotation not in TYPES:
        import sys

        try:
            annotation = eval(annotation, vars(sys.modules[base.__module__]), dict(vars(base)))
        except Exception:  # noqa: BLE001 - it is the user's text, and names what exists for a type checker only
            pass
    for known, type_ in TYPES.items():
        if annotation is type_ or annotation == known:
            return known
    raise InvalidError(
        f"the parameter {name!r} of {kind.__name__!r} is a {shown}; parameters of classes are str, int, bool or bytes"
    )


def bind(owner: str, fields: Fields, given: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all parameters. Raises `InvalidError` naming what is missing, unknown or of another type."""
    unknown = next((name for name in given if name not in fields), None)
    if unknown is not None:
        from modicum._old_names import nearest

        raise InvalidError(f"{owner!r} has no parameter {unknown!r}{nearest(unknown, fields)}")
    values = {}
    for name, field in fields.items():
        values[name] = given.get(name, field.default)
        if values[name] is NOTHING:
            raise InvalidError(f"{owner!r} needs a value for its parameter {name!r}: {owner}({name}=…)")
        _check(owner, name, field, values[name])
    return values


def _check(owner: str, name: str, field: Field, value: object) -> None:
    kind = TYPES[field.type]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidError(
            f"the parameter {name!r} of {owner!r} must be {field.type}, not {value!r:.80}, "
            f"of type {type(value).__name__}"
        )


def encode(values: dict[str, Any]) -> bytes:
    """Return values as bytes. Raises `InvalidError` if they are too large."""
    size = sum(len(name) + _size(value) for name, value in values.items())
    if size > BYTES_MAX:
        raise InvalidError(
            f"the parameters {', '.join(map(repr, sorted(values)))} have {size} bytes, more than {BYTES_MAX}; each "
            "set of values has containers of its own: pass large values to the methods"
        )
    plain = {name: _plain(value) for name, value in values.items()}
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def decode(data: bytes | str) -> dict[str, Any]:
    """Return the values that `encode` took."""
    return {name: _value(plain) for name, plain in json.loads(data).items()}


def describe(fields: Fields) -> dict[str, dict[str, Any]]:
    """Return parameters as they are sent."""
    described: dict[str, dict[str, Any]] = {}
    for name, field in fields.items():
        described[name] = {"type": field.type}
        if field.default is not NOTHING:
            described[name]["default"] = _plain(field.default)
    return described


def read(described: dict[str, dict[str, Any]]) -> Fields:
    """Return the parameters that `describe` took."""
    return {
        name: Field(str(each["type"]), _value(each["default"]) if "default" in each else NOTHING)
        for name, each in described.items()
    }


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return len(value) if isinstance(value, bytes) else value.bit_length() // 8 + 1


def _plain(value: object) -> object:
    """Return a value as JSON has it; a str that is an enum's member, or the like, as what it is without."""
    if isinstance(value, bytes):
        from binascii import b2a_base64

        return {"b": b2a_base64(value, newline=False).decode()}
    if isinstance(value, str):
        return str.__str__(value)
    return value if isinstance(value, bool) else int(value)  # type: ignore[call-overload]


def _value(plain: Any) -> Any:
    if isinstance(plain, dict):
        from binascii import a2b_base64

        return a2b_base64(plain["b"])
    return plain

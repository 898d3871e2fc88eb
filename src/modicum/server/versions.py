"""What a publication changes of an app: which functions come, change or go, and whether anything does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from modicum.server.records import Function

RECREATE, ROLLING = "recreate", "rolling"
STRATEGIES = (ROLLING, RECREATE)
"""How containers of what was changed are replaced: after those of the new version are ready, or at once."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the functions of an app, by name. `replaced` are those whose containers are of the past."""

    functions: Mapping[str, Function]
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether all stays as it is."""
        return not self.added and not self.replaced and not self.removed


def digest(function: Function) -> str:
    """Return what tells a function's definition from others."""
    text = json.dumps(function.definition, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode() + b"\0" + function.serialized).hexdigest()[:32]


def compare(
    app: str, present: Mapping[str, Function], wanted: Mapping[str, Function], version: int, renew: bool = False
) -> Change:
    """Return what it takes to have the wanted functions in the place of the present ones, as this version.

    A function keeps its id; what is unchanged keeps its generation, and so its containers, unless all shall `renew`.
    """
    functions: dict[str, Function] = {}
    replaced: list[str] = []
    for name, each in wanted.items():
        known = present.get(name)
        if known is None:
            functions[name] = replace(each, id=function_id(app, name), app=app, generation=version)
        elif renew or digest(known) != digest(each):
            functions[name] = replace(each, id=known.id, app=app, generation=version)
            replaced.append(name)
        else:
            functions[name] = known
    added = tuple(name for name in wanted if name not in present)
    removed = tuple(name for name in present if name not in wanted)
    return Change(functions, added, tuple(replaced), removed)


def schedules_of(functions: Iterable[Function]) -> dict[str, dict[str, Any]]:
    """Return the schedules of functions that have one, by the functions' ids."""
    found = {each.id: each.options.get("schedule") for each in functions}
    return {function: schedule for function, schedule in found.items() if schedule is not None}


def function_id(app: str, name: str) -> str:
    """Return the id of a function that is published: one that goes and comes back is the same."""
    return _id([app, name])


def pinned(function: str, app: str, name: str, version: int, definition: tuple[dict[str, Any], bytes]) -> Function:
    """Return a function as it was in a version of its app, whatever is published afterwards.

    Nothing keeps containers of it ready, and no schedule runs it: they start when it is called.
    """
    settings, serialized = definition
    options = {**settings["options"], "min_containers": 0}
    options.pop("schedule", None)
    settings = {**settings, "options": options}
    return Function(_id([function, "version", version]), app, name, settings, serialized, version, pinned=version)


def _id(parts: list[Any]) -> str:
    return "fu-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:22]

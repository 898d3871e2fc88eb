"""Functions with settings or parameters of their own: each is a variant of a function, with its own id and containers.

A variant's id is made of what it is. So the same settings, asked for by different processes or after a restart, are the
same function with the same containers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from modicum.server.apps import Apps
from modicum.server.core import events as ev
from modicum.server.fleet import Fleet
from modicum.server.gpus import check_known
from modicum.server.records import Function
from modicum.server.specs import spec_of
from modicum.stores import variants as stored_variants
from modicum.stores.database import Database
from modicum.stores.queries import StoredFunction
from modicum.wire.channel import RemoteFailure

VARIANTS_MAX = 10_000
"""A function has no more: each is kept, and a program that made them without end would fill the store."""

RESET = {"min_containers": 0, "max_containers": None, "buffer_containers": 0, "scaledown_window": 60}
"""What the autoscaler can be told, and what None means in its place."""


def variant_id(parent: str, settings: dict[str, Any], parameters: str | None) -> str:
    """Return the id of a variant: the same for the same settings, wherever they come from."""
    what = json.dumps([parent, settings, parameters], sort_keys=True, separators=(",", ":"))
    return "fu-" + hashlib.sha256(what.encode()).hexdigest()[:22]


def vary(definition: dict[str, Any], settings: dict[str, Any], parameters: str | None) -> dict[str, Any]:
    """Return a function's definition with other settings. What keeps it warm, or runs it, is not each variant's."""
    spec = {**definition["spec"], "batched": True} if settings.get("batching") else definition["spec"]
    options = {**definition["options"], "min_containers": 0, **settings}
    options.pop("schedule", None)
    return {**definition, "spec": spec, "options": options, "parameters": parameters}


class Variants:
    """Makes and finds variants of the functions of all apps, and changes what the autoscaler is told of a function."""

    def __init__(self, database: Database, fleet: Fleet, apps: Apps) -> None:
        self._database = database
        self._fleet = fleet
        self._apps = apps

    async def bind(self, function: Function, settings: dict[str, Any], parameters: str | None) -> Function:
        """Return the variant of a function with these settings, made now if there is none.

        A variant's variant is one of the same function: later settings replace earlier ones.
        """
        base = function if function.parent is None else self._fleet.functions[function.parent]
        settings = {**function.settings, **settings}
        parameters = function.parameters if parameters is None else parameters
        if not settings and parameters is None:
            return base
        known = self._fleet.functions.get(variant_id(base.id, settings, parameters))
        return known if known is not None else await self._add(base, settings, parameters)

    async def _add(self, base: Function, settings: dict[str, Any], parameters: str | None) -> Function:
        self._apps.get(base.app)
        if len(self.of(base)) >= VARIANTS_MAX:
            raise RemoteFailure(
                "resource_exhausted",
                f"the function {base.name!r} has {VARIANTS_MAX} variants, each with settings or parameters of its own; "
                "pass what differs as arguments",
            )
        check_known(base.name, settings.get("gpu"), self._fleet.node_facts.values())
        definition = vary(base.definition, settings, parameters)
        variant = Function(
            variant_id(base.id, settings, parameters),
            base.app,
            base.name,
            definition,
            base.serialized,
            generation=base.generation,
            pinned=base.pinned,
            parent=base.id,
            settings=settings,
            parameters=parameters,
        )
        self._take_in(base, variant)
        # The store keeps the order of what it is given: an input of this variant never comes before it.
        row = stored_variants.add_variant(variant.id, base.id, base.app, base.name, settings, parameters)
        try:
            await self._database.submit(row)
        except Exception:  # what is not stored cannot be spawned: whoever asks again has it stored again
            self._take_out(base, variant)
            raise
        return variant

    def _take_out(self, base: Function, variant: Function) -> None:
        if self._fleet.functions.get(variant.id) is variant:
            self._apps.take_out([variant.id], "it could not be stored")
            self.of(base).remove(variant.id)

    def _take_in(self, base: Function, variant: Function) -> None:
        self._apps.variants.setdefault(base.id, []).append(variant.id)
        self._apps.take_in_function(variant)

    def restore(self, stored: StoredFunction) -> None:
        """Take in a function of a restored app; a variant after what it is a variant of."""
        fields = {name: getattr(stored, name) for name in stored.__slots__}
        function = Function(**fields)
        if function.parent is None:
            self._apps.take_in_function(function)
            return
        base = self._fleet.functions.get(function.parent)
        if base is not None:  # else it went, and its variants go with the app
            self._take_in(base, self._like(function, base))

    def _like(self, variant: Function, base: Function) -> Function:
        """Return a variant as one of what its function is now."""
        definition = vary(base.definition, variant.settings, variant.parameters)
        return replace(variant, definition=definition, serialized=base.serialized, generation=base.generation)

    def of(self, function: Function) -> list[str]:
        """Return the ids of a function's variants, the newest last."""
        return self._apps.variants.get(function.id, [])

    def redefined(self, base: Function, recreate: bool = False) -> None:
        """A function is defined anew, and so are its variants. What the autoscaler was told of them is forgotten."""
        for each in self.of(base):
            variant = replace(self._like(self._fleet.functions[each], base), overrides={})
            self._apps.take_in_function(variant, recreate)

    async def configure(self, function: Function, told: dict[str, int | None]) -> None:
        """Tell the autoscaler of a function, until it is defined anew. None stands for what there is without a word."""
        self._apps.get(function.app)
        overrides = {name: RESET[name] if value is None else value for name, value in told.items()}
        options = {**function.options, **overrides}
        least, most = options["min_containers"], options["max_containers"]
        if most is not None and least > most:
            raise RemoteFailure("invalid", f"min_containers ({least}) is larger than max_containers ({most})")
        function.overrides = {**function.overrides, **overrides}
        self._fleet.on_event(ev.FunctionAdded(spec_of(function)))
        await self._database.submit(stored_variants.set_overrides(function.id, function.overrides))

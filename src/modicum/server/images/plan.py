"""Which layers an image consists of, and which of them are missing.

A layer's id is a hash of the layer below it, of its step and of the builder's version, so the same definition is the
same layer everywhere and at any time, and a changed step renews all that stand on it. A step that only configures
makes no layer: it is carried along to the layers that are built under it, whose ids cover what they see of it, and to
the image, whose id covers all of it. Pure: what exists comes in as an argument.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BUILDER = "1"
"""Raised whenever the same step would make another layer than before."""

CONFIGURE = "configure"
"""The operation that makes no layer."""

_SEEN = ("env", "expand", "workdir", "shell")
"""What of the configuration a step sees while it runs."""

_NO_DEFINITION = ("force_build", "shipped")
"""What says nothing about what a step makes: that it is forced, and how its parts get to the node."""

Step = Mapping[str, Any]


class InvalidSteps(ValueError):
    """The steps describe no image; the message says why."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One step, the name of what it makes of the layers below it, and the configuring steps before it."""

    id: str
    step: Step
    configured: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The layers of an image, the base first, and all its configuring steps."""

    layers: tuple[Layer, ...]
    configured: tuple[Step, ...]

    @property
    def image(self) -> str:
        """The image's id: its topmost layer's, if nothing is configured."""
        top = self.layers[-1].id
        return _hash("image", top, self.configured) if self.configured else top


def plan(steps: Sequence[Step], forced: Mapping[str, str] | None = None) -> Plan:
    """Return what makes up an image.

    `forced` is what `forced_builds` returned for earlier images: layers that somebody had built anew are used in their
    newest form by everyone. Raises `InvalidSteps` if the list is empty or a step has no `op`.
    """
    if not steps:
        raise InvalidSteps("an image needs at least one step")
    layers: list[Layer] = []
    configured: tuple[Step, ...] = ()
    defined = parent = ""
    for step in steps:
        if not isinstance(step.get("op"), str):
            raise InvalidSteps("a step must name its operation")
        if step["op"] == CONFIGURE:
            configured = (*configured, step)
            continue
        defined = layer_id(defined, step, configured)
        parent = layer_id(parent, step, configured, (forced or {}).get(defined, ""))
        layers.append(Layer(parent, {key: value for key, value in step.items() if key != "force_build"}, configured))
    if not layers:
        raise InvalidSteps("an image needs a step that makes a layer")
    return Plan(tuple(layers), configured)


def forced_builds(steps: Sequence[Step], nonce: str, *, everything: bool = False) -> dict[str, str]:
    """Return what to add to `forced` so that the steps marked `force_build`, or all, make new layers.

    It is by definition → nonce. The same nonce makes the same layers.
    """
    defined, found = "", {}
    configured: tuple[Step, ...] = ()
    for step in steps:
        if step.get("op") == CONFIGURE:
            configured = (*configured, step)
            continue
        defined = layer_id(defined, step, configured)
        if everything or step.get("force_build"):
            found[defined] = nonce
    return found


def missing(layers: Sequence[Layer], have: Collection[str]) -> list[Layer]:
    """Return the layers to be built, in order: each is built on the one before it.

    A layer that is there although one below it is not still counts: it will be used once the lower ones are back.
    """
    return [layer for layer in layers if layer.id not in have]


def layer_id(parent: str, step: Step, configured: Sequence[Step] = (), nonce: str = "") -> str:
    """Return the content address of `step` on the layer `parent` ("" for none)."""
    definition = {key: value for key, value in step.items() if key not in _NO_DEFINITION}
    seen = [{key: before[key] for key in _SEEN if key in before} for before in configured]
    seen = [each for each in seen if each]
    return _hash(BUILDER, parent, definition, nonce, *([seen] if seen else []))


def _hash(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "im-" + hashlib.sha256(text.encode()).hexdigest()[:32]

"""Which layers an image consists of, and which of them are missing.

A layer's id is a hash of the layer below it, of its step and of the builder's version, so the same definition is the
same layer everywhere and at any time, and a changed step renews all that stand on it. An image is known by its topmost
layer. Pure: what exists comes in as an argument.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BUILDER = "1"
"""Raised whenever the same step would make another layer than before."""

Step = Mapping[str, Any]


class InvalidSteps(ValueError):
    """The steps describe no image; the message says why."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One step, and the name of what it makes of the layers below it."""

    id: str
    step: Step


def plan(steps: Sequence[Step], forced: Mapping[str, str] | None = None) -> list[Layer]:
    """Return the layers of an image, the base first.

    `forced` is what `forced_builds` returned for earlier images: layers that somebody had built anew are used in their
    newest form by everyone. Raises `InvalidSteps` if the list is empty or a step has no `op`.
    """
    if not steps:
        raise InvalidSteps("an image needs at least one step")
    layers: list[Layer] = []
    defined = parent = ""
    for step in steps:
        if not isinstance(step.get("op"), str):
            raise InvalidSteps("a step must name its operation")
        defined = layer_id(defined, step)
        parent = layer_id(parent, step, (forced or {}).get(defined, ""))
        layers.append(Layer(parent, _definition(step)))
    return layers


def forced_builds(steps: Sequence[Step], nonce: str) -> dict[str, str]:
    """Return what to add to `forced` so that the steps marked `force_build` make new layers: definition → nonce."""
    defined, found = "", {}
    for step in steps:
        defined = layer_id(defined, step)
        if step.get("force_build"):
            found[defined] = nonce
    return found


def missing(layers: Sequence[Layer], have: Collection[str]) -> list[Layer]:
    """Return the layers to be built, in order: each is built on the one before it.

    A layer that is there although one below it is not still counts: it will be used once the lower ones are back.
    """
    return [layer for layer in layers if layer.id not in have]


def image_id(layers: Sequence[Layer]) -> str:
    """Return the image's name, which is its topmost layer's."""
    return layers[-1].id


def layer_id(parent: str, step: Step, nonce: str = "") -> str:
    """Return the content address of `step` on the layer `parent` ("" for none)."""
    text = json.dumps(
        [BUILDER, parent, _definition(step), nonce], sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )
    return "im-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _definition(step: Step) -> dict[str, Any]:
    """Whether a build is forced says nothing about what it makes."""
    return {key: value for key, value in step.items() if key != "force_build"}

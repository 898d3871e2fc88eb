"""What the steps that only configure make of an image's configuration: environment, directory, entrypoint, shell."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

Step = Mapping[str, Any]

_VARIABLE = re.compile(r"\\(?P<escaped>.)|\$(?:(?P<name>\w+)|\{(?P<inner>\w+)(?:(?P<sign>:?[-+])(?P<word>[^}]*))?\})")
"""What a Dockerfile expands: `$A`, `${A}`, `${A:-word}`, `${A:+word}`; a backslash keeps the character after it."""


def configure(config: Mapping[str, Any], steps: Iterable[Step]) -> dict[str, Any]:
    """Return `config` after the configuring steps, in order.

    A step has some of `env`, `workdir` (relative to the one before), `entrypoint`, `cmd` and `shell`. With `expand`,
    a mapping of build arguments, the variables in `env` and `workdir` are replaced as they are before the step.
    """
    result = dict(config)
    for step in steps:
        result |= {name: list(step[name]) for name in ("entrypoint", "cmd", "shell") if name in step}
        values = dict(result.get("env", {}))
        known = {**step.get("expand", {}), **values}
        expands = "expand" in step
        for name, value in step.get("env", {}).items():
            values[name] = expand(value, known) if expands else value
        result["env"] = values
        if "workdir" in step:
            path = expand(step["workdir"], known) if expands else step["workdir"]
            result["workdir"] = posixpath.normpath(posixpath.join("/", result.get("workdir", "/"), path))
    return result


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with its variables replaced; one that is not set is empty."""

    def value(match: re.Match[str]) -> str:
        if match["escaped"] is not None:
            return match["escaped"]
        found = variables.get(match["name"] or match["inner"])
        sign = match["sign"] or ""
        is_set = bool(found) if sign.startswith(":") else found is not None
        if sign.endswith("-"):
            return (found or "") if is_set else expand(match["word"], variables)
        if sign.endswith("+"):
            return expand(match["word"], variables) if is_set else ""
        return found or ""

    return _VARIABLE.sub(value, text)

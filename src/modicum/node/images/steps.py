"""What command a step runs. One function per operation, and one line in the table at the end.

The base, `debian_slim`, is no command: `bases.py` makes it. Nor is `add_files`: `files.py` makes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .mounts import BUILD

Step = Mapping[str, Any]

_PIP = f"""\
touch {BUILD}/started
python -m pip install --no-compile "$@" || exit
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$site" -name '*.py' -newer {BUILD}/started | python -m compileall -qq -j0 -i - >/dev/null 2>&1
exit 0
"""
"""Compiling afterwards on all cores takes less time than pip's own compiling on one. Files that are no valid Python, as
some packages' tests and templates, do not compile, and need not."""

_UV = f"""\
exec {BUILD}/uv pip install --python "$(command -v python)" --compile-bytecode "$@"
"""

_UV_PINNED = f"""\
python -m pip install --quiet --no-compile --target {BUILD}/pinned "uv==$1" || exit
shift
exec {BUILD}/pinned/bin/uv pip install --python "$(command -v python)" --compile-bytecode "$@"
"""


class UnknownStep(ValueError):
    """This node does not know the operation: the client is newer."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that makes a layer.

    `words` names it to people; `files` (name → text) lie in /run/modicum-build/files.
    """

    words: str
    argv: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def command(step: Step) -> Command:
    """Return what to run for `step`. Raises `UnknownStep`."""
    make = _COMMANDS.get(step["op"])
    if make is None:
        raise UnknownStep(f"this node knows no build step {step['op']!r}; it may be older than the client")
    return make(step)


def words(step: Step) -> str:
    """Name a step to people."""
    if step["op"] == "add_files":
        return str(step["words"])
    return f"debian_slim {step['python']}" if step["op"] == "debian_slim" else command(step).words


def _pip_install(step: Step) -> Command:
    options = ["--pre"] if step.get("pre") else []
    arguments = [*step["packages"], *_index_options(step), *options, *shlex.split(step.get("extra_options", ""))]
    return Command(
        words=shlex.join(["pip", "install", *arguments]),
        argv=("/bin/sh", "-c", _PIP, "pip", *arguments),
        environ=dict(step.get("env", {})),
    )


def _uv_pip_install(step: Step) -> Command:
    texts = step.get("requirements", [])
    files = {f"requirements-{number}.txt": text for number, text in enumerate(texts)}
    listed = [word for name in files for word in ("--requirements", f"{BUILD}/files/{name}")]
    options = ["--prerelease", "allow"] if step.get("pre") else []
    extra = shlex.split(step.get("extra_options", ""))
    arguments = [*step["packages"], *listed, *_index_options(step), *options, *extra]
    pinned = step.get("uv_version")
    return Command(
        words=shlex.join(["uv", "pip", "install", *arguments]),
        argv=("/bin/sh", "-c", _UV_PINNED if pinned else _UV, "uv", *([pinned] if pinned else []), *arguments),
        environ=dict(step.get("env", {})),
        files=files,
    )


def _index_options(step: Step) -> list[str]:
    options = (
        ("--find-links", "find_links"),
        ("--index-url", "index_url"),
        ("--extra-index-url", "extra_index_url"),
    )
    return [word for flag, name in options if name in step for word in (flag, step[name])]


_COMMANDS: dict[str, Callable[[Step], Command]] = {
    "pip_install": _pip_install,
    "uv_pip_install": _uv_pip_install,
}

"""What command a step runs. One function per operation, and one line in the table at the end.

The base, `debian_slim`, is no command: `bases.py` makes it. Nor is `add_files`: `files.py` makes it. Steps that only
configure run nothing: `wire/configuration.py`.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .mounts import BUILD

AGENT = "/run/modicum-agent"
"""Where a step that runs a function of the user's program finds our code, as containers do."""

Step = Mapping[str, Any]
Config = Mapping[str, Any]

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

_UV_SYNC = f"""\
uv={BUILD}/uv
if [ "$1" ]; then
    python -m pip install --quiet --no-compile --target {BUILD}/pinned "uv==$1" || exit
    uv={BUILD}/pinned/bin/uv
fi
shift
exec "$uv" sync --project=/.uv --no-install-workspace --compile-bytecode "$@"
"""

_POETRY = """\
[ -z "$1" ] || python -m pip install "$1" || exit
[ -z "$2" ] || poetry config experimental.new-installer false || exit
shift 2
cd /tmp/poetry || exit
poetry config virtualenvs.create false || exit
poetry install --no-root --no-interaction --compile "$@"
"""

_APT = f"""\
cache={BUILD}/cache/apt own={BUILD}/archives
archives=Dir::Cache::archives=$own
mkdir -p $own/partial || exit
apt-get update || exit
apt-get install --yes --print-uris -o Acquire::ForceHash=sha256 -o $archives "$@" 2>/dev/null |
sed -En "s/^'[^']*' ([^ /]+) ([0-9]+) SHA256:([0-9a-f]{{64}})$/\\1 \\2 \\3/p" |
while read -r name size sum; do
    [ -f "$cache/$name" ] || continue
    head -c "$size" "$cache/$name" >"$own/$name"
    echo "$sum  $own/$name" | sha256sum --check --status || rm "$own/$name"
done
apt-get install --yes --download-only -o $archives "$@" || exit
for deb in $own/*.deb; do
    kept=$cache/${{deb##*/}}
    [ -f "$deb" ] || continue
    [ ! -f "$kept" ] || ! cmp -s "$deb" "$kept" || continue
    new=$(mktemp -u $cache/new-XXXXXXXXXXXX)
    cp --remove-destination "$deb" "$new" && mv -fT "$new" "$kept" || rm -f "$new"
done
apt-get install --yes -o $archives "$@"
"""
"""apt believes a package that it finds downloaded if only its size is right, and any step may write into the cache that
all share. So each step has archives of its own: what the cache has is copied there and compared with the signed index.
"""


class UnknownStep(ValueError):
    """This node does not know the operation: the client is newer."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that makes a layer.

    `words` names it to people; `files` (name → content) lie in /run/modicum-build/files. It runs our own code
    if it `needs_agent`.
    """

    words: str
    argv: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    needs_agent: bool = False
    timeout_s: float | None = None


def command(step: Step, config: Config) -> Command:
    """Return what to run for `step` where the image is configured so. Raises `UnknownStep`."""
    make = _COMMANDS.get(step["op"])
    if make is None:
        raise UnknownStep(f"this node knows no build step {step['op']!r}; it may be older than the client")
    return make(step, config)


def words(step: Step) -> str:
    """Name a step to people."""
    if step["op"] == "add_files":
        return str(step["words"])
    return f"debian_slim {step['python']}" if step["op"] == "debian_slim" else command(step, {}).words


def _pip_install(step: Step, _: Config) -> Command:
    options = ["--pre"] if step.get("pre") else []
    files, listed = _requirements(step)
    extra = shlex.split(step.get("extra_options", ""))
    arguments = [*step["packages"], *listed, *_index_options(step), *options, *extra]
    return Command(
        words=_named(["pip", "install", *arguments]),
        argv=("/bin/sh", "-c", _PIP, "pip", *arguments),
        environ=dict(step.get("env", {})),
        files=files,
    )


def _uv_pip_install(step: Step, _: Config) -> Command:
    files, listed = _requirements(step)
    options = ["--prerelease", "allow"] if step.get("pre") else []
    extra = shlex.split(step.get("extra_options", ""))
    arguments = [*step["packages"], *listed, *_index_options(step), *options, *extra]
    pinned = step.get("uv_version")
    return Command(
        words=_named(["uv", "pip", "install", *arguments]),
        argv=("/bin/sh", "-c", _UV_PINNED if pinned else _UV, "uv", *([pinned] if pinned else []), *arguments),
        environ=dict(step.get("env", {})),
        files=files,
    )


def _uv_sync(step: Step, _: Config) -> Command:
    arguments = [
        *(f"--group={name}" for name in step.get("groups", ())),
        *(f"--extra={name}" for name in step.get("extras", ())),
        *(["--frozen"] if step.get("frozen") else []),
        *shlex.split(step.get("extra_options", "")),
    ]
    return Command(
        words=shlex.join(["uv", "sync", *arguments]),
        argv=("/bin/sh", "-c", _UV_SYNC, "uv", step.get("uv_version", ""), *arguments),
        environ=dict(step.get("env", {})),
    )


def _poetry_install(step: Step, _: Config) -> Command:
    groups = (("--with", "with_"), ("--without", "without"), ("--only", "only"))
    arguments = [word for flag, name in groups if name in step for word in (flag, ",".join(step[name]))]
    version = step.get("poetry_version", "")
    wanted = "poetry" if version == "latest" else version and f"poetry=={version}"
    return Command(
        words=shlex.join(["poetry", "install", *arguments]),
        argv=("/bin/sh", "-c", _POETRY, "poetry", wanted, "old" if step.get("old_installer") else "", *arguments),
        environ=dict(step.get("env", {})),
    )


def _apt_install(step: Step, _: Config) -> Command:
    return Command(
        words=shlex.join(["apt-get", "install", *step["packages"]]),
        argv=("/bin/sh", "-c", _APT, "apt", *step["packages"]),
        environ=dict(step.get("env", {})),
    )


def _run_commands(step: Step, config: Config) -> Command:
    shell = config.get("shell", ("/bin/sh", "-c"))
    lines = [shlex.join([*shell, line]) for line in step["commands"]]
    if len(lines) > 1:  # then it must be seen which of them failed
        lines = [f"printf '%s\\n' {shlex.quote(f'$ {said}')}; {line}" for said, line in zip(step["commands"], lines)]
    return Command(
        words="; ".join(step["commands"]),
        argv=("/bin/sh", "-c", "".join(f"{line} || exit\n" for line in lines)),
        environ=dict(step.get("env", {})),
    )


def _run_function(step: Step, _: Config) -> Command:
    shipped = step["shipped"]
    program = f"{AGENT}/modicum/agent/build_step.py"
    return Command(
        words=f"run_function {step['function']}",
        argv=("python3", "-S", program, "/root", shipped["module"], step["function"], f"{BUILD}/files/arguments"),
        environ={"PYTHONDONTWRITEBYTECODE": "1", **step.get("env", {})},
        files={"arguments": base64.b64decode(shipped["arguments"])},
        needs_agent=True,
        timeout_s=step["timeout"],
    )


def _requirements(step: Step) -> tuple[dict[str, str | bytes], list[str]]:
    """Return the requirements files that came with a step, and the words that have them read."""
    files = {f"requirements-{number}.txt": text for number, text in enumerate(step.get("requirements", ()))}
    return files, [word for name in files for word in ("-r", f"{BUILD}/files/{name}")]


def _named(words: list[str]) -> str:
    """Return a command as its user would write it: our directory means nothing to him."""
    return shlex.join(words).replace(f"{BUILD}/files/", "")


def _index_options(step: Step) -> list[str]:
    options = (
        ("--find-links", "find_links"),
        ("--index-url", "index_url"),
        ("--extra-index-url", "extra_index_url"),
    )
    return [word for flag, name in options if name in step for word in (flag, step[name])]


_COMMANDS: dict[str, Callable[[Step, Config], Command]] = {
    "apt_install": _apt_install,
    "pip_install": _pip_install,
    "poetry_install": _poetry_install,
    "run_commands": _run_commands,
    "run_function": _run_function,
    "uv_pip_install": _uv_pip_install,
    "uv_sync": _uv_sync,
}

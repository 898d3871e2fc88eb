"""How the lines of a Dockerfile become build steps. All but `FROM`, and what needs more than one image or user."""

from __future__ import annotations

import io
import json
import re
import shlex

from modicum.exception import InvalidError
from modicum.wire.configuration import configure, expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from modicum.image import Step

    Copy = Callable[[str, list[str], str], Step]

_WITHOUT_EFFECT = {"COMMENT", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "STOPSIGNAL", "VOLUME"}
"""What says nothing of how a function runs."""

_INSTEAD = {
    "FROM": "the commands extend the image that they are called on, so leave it out",
    "USER": "all commands and functions run as the container's root",
}
_HEREDOC = re.compile(r"(?<!<)<<-?\s*[\"']?[A-Za-z_]\w*[\"']?\s*(?:$|[|&;>)])", re.MULTILINE)


def steps(lines: list[str], before: list[Step], build_args: Mapping[str, str], common: Step, copy: Copy) -> list[Step]:
    """Return the steps of a Dockerfile's lines on an image of the steps `before`.

    `common` is what each of them gets that runs something. `copy(words, sources, target)` makes the step of a `COPY`.
    Raises `InvalidError` for what has no step.
    """
    from dockerfile_parse import DockerfileParser

    text = "\n".join(lines) + "\n"
    reader = _Reader(before, build_args, common, copy)
    for part in DockerfileParser(fileobj=io.BytesIO(text.encode())).structure:
        reader.read(part["instruction"].upper(), part["value"])
    return reader.steps


class _Reader:
    """Reads one instruction after the other."""

    def __init__(self, before: list[Step], build_args: Mapping[str, str], common: Step, copy: Copy) -> None:
        self.steps: list[Step] = []
        self._configured = [step for step in before if step["op"] == "configure"]
        self._build_args = build_args
        self._arguments: dict[str, str] = {}
        self._common = common
        self._copy = copy
        self._readers: dict[str, Callable[[str], None]] = {
            "ADD": self._add,
            "ARG": self._arg,
            "CMD": lambda value: self._configure({"cmd": self._command("CMD", value)}),
            "COPY": self._copy_files,
            "ENTRYPOINT": self._entrypoint,
            "ENV": self._env,
            "RUN": self._run,
            "SHELL": lambda value: self._configure({"shell": _json_words("SHELL", value)}),
            "WORKDIR": self._workdir,
        }

    def read(self, instruction: str, value: str) -> None:
        """Take one instruction. Raises `InvalidError`."""
        if instruction in _WITHOUT_EFFECT:
            return
        reader = self._readers.get(instruction)
        if reader is None:
            raise _unsupported(instruction, _INSTEAD.get(instruction, "Modicum does not know it"))
        if _HEREDOC.search(value):
            raise _unsupported(f"{instruction} <<", "here-documents are not in Modicum yet; put the lines into a file")
        reader(value)

    def _run(self, value: str) -> None:
        flags, command = _flags(value)
        if flags:
            raise _unsupported(f"RUN --{next(iter(flags))}", "that option is not in Modicum yet")
        words = _json_words("RUN", command) if command.startswith("[") and _is_json(command) else None
        configured = self._config()["env"]
        arguments = {name: text for name, text in self._arguments.items() if name not in configured}
        env = {**arguments, **self._common.get("env", {})}
        step = {"op": "run_commands", "commands": [shlex.join(words) if words else command], **self._common}
        self.steps.append({**step, "env": env} if env else step)

    def _env(self, value: str) -> None:
        words = _words(value)
        if words and "=" not in words[0]:  # the old form, of one variable
            name, _, rest = value.strip().partition(" ")
            self._configure({"env": {name: rest.strip()}, "expand": dict(self._arguments)})
            return
        bad = next((word for word in words if "=" not in word), None)
        if bad is not None:
            raise _unsupported(f"ENV {value}", f"{bad!r} is not of the form NAME=VALUE")
        pairs = (word.partition("=") for word in words)
        self._configure({"env": {name: text for name, _, text in pairs}, "expand": dict(self._arguments)})

    def _arg(self, value: str) -> None:
        for word in _words(value):
            name, _, default = word.partition("=")
            if name in self._build_args:
                self._arguments[name] = self._build_args[name]
            elif "=" in word:
                self._arguments[name] = expand(default, self._known())

    def _workdir(self, value: str) -> None:
        self._configure({"workdir": "".join(_words(value)), "expand": dict(self._arguments)})

    def _entrypoint(self, value: str) -> None:
        if not _is_json(value):
            raise _unsupported(
                f"ENTRYPOINT {value}",
                "a shell would drop the command that a function starts with; write a list of words, and have it end "
                'with `exec "$@"`',
            )
        self._configure({"entrypoint": _json_words("ENTRYPOINT", value)})

    def _command(self, instruction: str, value: str) -> list[str]:
        return _json_words(instruction, value) if _is_json(value) else [*self._config()["shell"], value]

    def _add(self, value: str) -> None:
        remote = next((word for word in _words(value) if re.match(r"[a-z]+://|git@", word)), None)
        if remote is not None:
            raise _unsupported(f"ADD {remote}", "only local files can be added; fetch it with RUN")
        archive = next((word for word in _words(value)[:-1] if re.search(r"\.(tar(\.\w+)?|t[gbx]z\w*)$", word)), None)
        if archive is not None:
            raise _unsupported(f"ADD {archive}", "archives are not unpacked; COPY it, and unpack it with RUN tar")
        self._copy_files(value, "ADD")

    def _copy_files(self, value: str, instruction: str = "COPY") -> None:
        flags, rest = _flags(value)
        unknown = next(
            (flag for flag, text in flags.items() if flag != "link" and (flag, text) != ("chown", "root")), None
        )
        if unknown is not None:
            hint = "images have one stage" if unknown == "from" else "that option is not in Modicum yet"
            raise _unsupported(f"{instruction} --{unknown}", hint)
        words = _json_words(instruction, rest) if _is_json(rest) else _words(rest)
        known = self._known()
        places = [expand(word, known) for word in words]
        if len(places) < 2 or not all(places):
            raise _unsupported(f"{instruction} {value}", "it needs a source and a target")
        self.steps.append(
            {**self._copy(f"{instruction} {rest}", places[:-1], self._absolute(places[-1])), **_forced(self._common)}
        )

    def _absolute(self, target: str) -> str:
        """Return a target from the root; it still ends with a slash if it is to be a directory."""
        if target.startswith("/"):
            return target
        inside = "" if target in (".", "./") else target.removeprefix("./")
        return f"{self._config()['workdir'].rstrip('/')}/{inside}"

    def _configure(self, settings: Step) -> None:
        step = {"op": "configure", **settings}
        self._configured.append(step)
        self.steps.append(step)

    def _config(self) -> dict[str, Any]:
        """Return the configuration so far, as far as it can be known here: what the base sets is the node's."""
        return configure({"env": {}, "workdir": "/root", "shell": ["/bin/sh", "-c"]}, self._configured)

    def _known(self) -> dict[str, str]:
        return {**self._arguments, **self._config()["env"]}


def _forced(common: Step) -> Step:
    return {"force_build": True} if common.get("force_build") else {}


def _flags(value: str) -> tuple[dict[str, str], str]:
    """Return the options before what an instruction says, and the rest."""
    flags: dict[str, str] = {}
    while match := re.match(r"\s*--([a-z-]+)(?:=(\S*))?\s+", value):
        flags[match[1]] = match[2] or ""
        value = value[match.end() :]
    return flags, value.strip()


def _words(value: str) -> list[str]:
    """Split into words. Quotes go; what they keep from being expanded gets a backslash."""
    found = re.finditer(r"(?:\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"|[^\s\\'\"])+", value)
    return [re.sub(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", _unquoted, match[0]) for match in found]


def _unquoted(match: re.Match[str]) -> str:
    text = match[0]
    if text.startswith("'"):
        return re.sub(r"[\\$]", r"\\\g<0>", text[1:-1])
    if text.startswith('"'):
        return re.sub(r'\\(?!["\\$])', r"\\\\", text[1:-1])
    return text


def _is_json(value: str) -> bool:
    try:
        return isinstance(json.loads(value), list)
    except ValueError:
        return False


def _json_words(instruction: str, value: str) -> list[str]:
    words = json.loads(value) if _is_json(value) else None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _unsupported(f"{instruction} {value}", 'it must be a list of words, as in ["/bin/bash", "-c"]')
    return words


def _unsupported(what: str, why: str) -> InvalidError:
    return InvalidError(f"dockerfile_commands: `{what}` cannot be used here: {why}.")

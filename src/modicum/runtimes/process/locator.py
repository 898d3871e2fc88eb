"""Where the paths of a container are in truth, where it has no root directory of its own."""

from __future__ import annotations

import re

from modicum.runtimes.base import ContainerSpec


class Locator:
    """Where out here the things are that a container would have at paths of its own."""

    def __init__(self, spec: ContainerSpec) -> None:
        self._root = spec.root
        self._home = spec.env.get("HOME", "/root")
        self._sources = {mount.target: str(mount.source) for mount in spec.mounts}
        targets = sorted(map(re.escape, self._sources), key=len, reverse=True)
        self._targets = re.compile(rf"(?<![\w.-])({'|'.join(targets)})(?![\w.-])") if targets else None

    def paths_in(self, text: str) -> str:
        """Return `text` with each mount's target replaced by its source, wherever it begins a path."""
        if self._targets is None:
            return text
        return self._targets.sub(lambda match: self._sources[match[1]], text)

    def environ(self, variables: dict[str, str]) -> dict[str, str]:
        """Return variables with the paths in them moved."""
        environ = {name: self.paths_in(value) for name, value in variables.items()}
        if "HOME" in environ:
            environ["HOME"] = self.directory(environ["HOME"])
        return environ

    def word(self, word: str) -> str:
        """Return an argument: a path at or below the home leads below the root, all else is as in `paths_in`."""
        return self.directory(word) if f"{word}/".startswith(f"{self._home}/") else self.paths_in(word)

    def directory(self, path: str) -> str:
        """Return where a directory of the container's is: at its mount's source, else below the root."""
        moved = self.paths_in(path)
        return moved if moved != path or path.startswith(f"{self._root}/") else f"{self._root}{path}"

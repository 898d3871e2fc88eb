"""Which of this machine's files is an app made of? When one of them is saved, it is another app."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from modicum import _building, _source
from modicum.app import App

BYPRODUCTS = (".pyc", ".swp", ".swx", "~", ".tmp")


@dataclass(frozen=True, slots=True)
class Watched:
    """Files, and the folders in which any file counts, also one that comes."""

    files: frozenset[str]
    folders: frozenset[str]

    def places(self) -> list[str]:
        """Return the folders to look at; there is no other way to see a file that an editor puts in another's place."""
        places = {os.path.dirname(file) for file in self.files} | self.folders
        return sorted(place for place in places if os.path.isdir(place))

    def counts(self, path: str) -> bool:
        """Return whether a change of this path may be one of the app."""
        name = os.path.basename(path)
        if path in self.files:
            return True
        return os.path.dirname(path) in self.folders and name != "__pycache__" and not name.endswith(BYPRODUCTS)

    def stamps(self) -> dict[str, int]:
        """Return when each of the files was written last."""
        return {file: os.stat(file).st_mtime_ns for file in self.files if os.path.exists(file)}

    def as_json(self) -> Any:
        """Return it as another process reads it."""
        return [sorted(self.files), sorted(self.folders)]


def from_json(value: Any) -> Watched:
    """Return what `as_json` wrote."""
    files, folders = value
    return Watched(frozenset(files), frozenset(folders))


def watched(app: App) -> Watched:
    """Return the files of an app that has been imported: its functions' sources, its images', and what it imported."""
    functions = list(app.functions.values())
    images = [app.image_of(function) for function in functions]
    sets = list(_building.read_files(list(dict.fromkeys(images))).values())
    modules = {each.__module__: each for each in functions if each.includes_source and not each.serialized}
    sources = [_source.of(each.raw_function).files for each in modules.values()]
    found = {path for each in [*sets, *sources] for path in each.local.values()}
    # Of a module without a package only its own file counts, not what else lies beside it.
    singles = [each.local for each in sources if len(each.entries) == 1]
    alone = {path for each in singles for path in each.values()}
    folders = {os.path.dirname(path) for path in found - alone}
    return Watched(frozenset(found | _imported()), frozenset(folders))


def _imported() -> set[str]:
    """Return the files of modules that were imported from the working directory, or from beside the program."""
    roots = tuple({os.path.join(each, "") for each in (os.getcwd(), *_program_folders())})
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = {os.path.abspath(file) for file in files if isinstance(file, str) and file.endswith(".py")}
    return {path for path in paths if path.startswith(roots) and f"{os.sep}site-packages{os.sep}" not in path}


def _program_folders() -> list[str]:
    """Return what loading the program has put first on the path."""
    return [os.path.abspath(each) for each in sys.path[:1] if each]

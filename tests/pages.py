"""Pages of the documentation that are made of the code's own tables. As a program it writes them: `scripts/docs`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import modicum
from modicum import _missing, options
from modicum._old_names import Dropped, Moved, Renamed
from modicum.cli import page
from modicum.cli.main import cli

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"

HEAD = """\
# Compatibility with Modal

A program that was written for Modal runs here unchanged as far as it uses what is listed as working. What is yet to
come is never ignored: it is an error that says so, and `hasattr(modal, "Volume")` is false until it is there.

This page is made of the tables in `src/modicum/_missing.py` and `src/modicum/options.py` by `scripts/docs`.
"""

NO_EFFECT = """\
Wishes that only a hosted service can grant are checked, kept with the function, and change nothing:
"""

OLDER = """\
## Older names

Programs of earlier years run, too. Each line that uses an older name gets one warning, a
`modal.exception.DeprecationError`, which is both a `UserWarning` and a `DeprecationWarning`. An older and a present
name that are both given and differ are an error. With `MODICUM_STRICT_NAMES=1` in the environment older names are
refused, as Modal's newest clients do: a program that runs so here uses no name that they have dropped.
"""

OURS = {
    "App": {"image_of", "register", "register_class", "set_running"},
    "Cls": set[str](),
    "Function": {"dehydrate", "encode", "hydrate_with", "includes_source", "ready", "target", "variant"},
    "FunctionCall": set[str](),
    "Image": {"attached", "failed_imports", "local_files", "resolve", "set_built", "steps"},
}
"""Members that are for Modicum itself."""


def compatibility() -> str:
    """Return the page on what of Modal's API there is."""
    classes = {
        "App": modicum.App,
        "Cls": modicum.Cls,
        "Function": modicum.Function,
        "FunctionCall": modicum.FunctionCall,
        "Image": modicum.Image,
    }
    parts = [
        HEAD,
        _section("Names of the module", "modal.", modicum.__all__, _missing.NOT_YET["modal"]),
        _section(
            "Parameters of `@app.function`",
            "",
            [each.name for each in options.PARAMETERS if each.check and each.name not in options.WITHOUT_EFFECT],
            [each.name for each in options.PARAMETERS if each.check is None],
        ),
        _without_effect(),
        *(_section(f"`modal.{name}`", ".", _members(kind), _missing.NOT_YET[name]) for name, kind in classes.items()),
        _section("`modal.types`", "", modicum.types.__all__, _missing.NOT_YET["modal.types"]),
        _section("`modal.exception`", "", _errors(), _missing.NOT_YET["modal.exception"]),
        OLDER,
        _older(),
        _gone(),
    ]
    return "\n".join(parts)


def _section(title: str, prefix: str, works: Iterable[str], yet: Iterable[str]) -> str:
    rows = "\n".join(
        f"| {what} | {', '.join(f'`{prefix}{name}`' for name in sorted(names))} |"
        for what, names in (("works", works), ("not yet", yet))
    )
    return f"## {title}\n\n| | |\n|---|---|\n{rows}\n"


def _without_effect() -> str:
    rows = "\n".join(f"| `{name}` | {why} |" for name, why in options.WITHOUT_EFFECT.items())
    return f"{NO_EFFECT}\n| accepted, without effect | because |\n|---|---|\n{rows}\n"


def _members(kind: type[Any]) -> list[str]:
    ours = OURS[kind.__name__]
    return [name for name in dir(kind) if not name.startswith("_") and name not in ours and hasattr(kind, name)]


def _errors() -> list[str]:
    return [name for name, value in vars(modicum.exception).items() if isinstance(value, type)]


def _older() -> str:
    lines = ["| Parameter of `@app.function` | now |", "|---|---|"]
    for old in options.OLD_NAMES:
        now = (
            f"`{old.told}`"
            if isinstance(old, Renamed | Moved)
            else "without effect"
            if isinstance(old, Dropped)
            else old.hint
        )
        lines.append(f"| `{old.old}` | {now} |")
    return "\n".join(lines) + "\n"


def _gone() -> str:
    lines = ["| Name that is gone | instead |", "|---|---|"]
    for owner, names in _missing.GONE.items():
        where = owner if owner.startswith("modal") else f"modal.{owner}"
        lines += [f"| `{where}.{name}` | {hint} |" for name, hint in names.items()]
    return "\n".join(lines) + "\n"


PAGES = {"cli.md": lambda: page.render(cli), "compatibility.md": compatibility}


def main() -> None:
    """Write all pages."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make())


if __name__ == "__main__":
    main()

"""How `import modal` comes to mean this package."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _Alias:
    """An import hook: `modal` and `modal.x` are the very modules `modicum` and `modicum.x`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "modal" and not name.startswith("modal."):
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, _Alias)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        import importlib

        real = "modicum" + spec.name[len("modal") :]
        try:
            module = importlib.import_module(real)
        except ModuleNotFoundError as error:
            if error.name != real:
                raise
            raise ModuleNotFoundError(_absence(spec.name), name=spec.name) from None
        spec._real = module.__spec__, module.__loader__  # type: ignore[attr-defined]
        return module

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Undo what the import system wrote over the real module's own identity."""
        spec = module.__spec__
        real = getattr(spec, "_real", None)
        if real is not None:
            module.__spec__, module.__loader__ = real


def _absence(name: str) -> str:
    from modicum._missing import explanation

    told = explanation("modal", name.split(".")[1]) if name.count(".") == 1 else None
    return f"No module named {name!r}{f': {told}' if told else ''}"


def install_as_modal() -> None:
    """Make `import modal` give this package, ahead of an installed `modal`. Calling it again changes nothing."""
    if not any(finder is _Alias for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias)

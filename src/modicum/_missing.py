"""What can a user do about a module that his container does not have?"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def advise(error: BaseException) -> None:
    """Add a note to an error from a container, if a module was missing there: how it gets there.

    What is right depends on where the module is on this machine: his own code, an installed package, or not here.
    """
    if not isinstance(error, ModuleNotFoundError) or not isinstance(error.name, str):
        return
    name, _, part = error.name.partition(".")
    advice = _advice(name, is_there=bool(part))
    if advice and advice not in getattr(error, "__notes__", ()):
        error.__notes__ = [*getattr(error, "__notes__", ()), advice]  # type: ignore[attr-defined,unused-ignore]


def _advice(name: str, is_there: bool) -> str:
    """Return what to say of a module; `is_there` means that the container has it, but not all that is in it here."""
    import sys

    spec = _find(name)
    if is_there and (spec is None or name in sys.stdlib_module_names or _is_installed(spec)):
        return ""  # another version of a package, or not its module at all
    if spec is None:
        return (
            f"The container has no module {name!r}. If it is a package, add it to the image: "
            f'image.pip_install("{name}")'
        )
    if name in sys.stdlib_module_names:
        return f"The container's Python has no module {name!r}, which is part of this machine's."
    if _is_installed(spec):
        return (
            f"The module {name!r} is installed on this machine, but not in the image. Add it: "
            f'image.pip_install("{_distribution(name)}")'
        )
    return (
        f"The module {name!r} is here, but was not sent along: only the function's own module or package is. Add it to "
        f'the image: image.add_local_python_source("{name}")'
    )


def _find(name: str) -> ModuleSpec | None:
    import importlib.util

    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _is_installed(spec: ModuleSpec) -> bool:
    import os
    import sysconfig

    places = {os.path.realpath(sysconfig.get_path(kind)) for kind in ("purelib", "platlib", "stdlib")}
    found = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(
        os.path.realpath(path).startswith(place + os.sep) or f"{os.sep}site-packages{os.sep}" in path
        for path in found
        for place in places
    )


def _distribution(name: str) -> str:
    """Return the name under which the module is installed."""
    from importlib.metadata import packages_distributions

    return next(iter(packages_distributions().get(name, [])), name)

"""How the arguments of `Image`'s methods are checked, and become what is sent of a step."""

from __future__ import annotations

import os

from modicum.exception import InvalidError, NotFoundError
from modicum.secret import read as read_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from modicum._files import FileSet
    from modicum.image import Step


def flat(method: str, name: str, values: tuple[object, ...]) -> list[str]:
    """Return strings that were given singly and in lists."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            found += value
        else:
            raise InvalidError(f"{method}: {name} must be strings or lists of strings, not {value!r}.")
    return found


def packages(method: str, values: tuple[object, ...]) -> list[str]:
    """Return the names of packages, in an order of our own: theirs means nothing to an installer."""
    names = flat(method, "packages", values)
    option = next((name for name in names if name.startswith("-")), None)
    if option is not None:
        hint = "" if method == "apt_install" else "; pass it in `extra_options`"
        raise InvalidError(f"{method}: {option!r} is an option, not a package{hint}.")
    return sorted(names)


def strings(method: str, name: str, values: object, *, is_needed: bool = False) -> list[str]:
    """Return a list of strings, an empty one for None unless it is needed."""
    if values is None and not is_needed:
        return []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidError(f"{method}: `{name}` must be a list of strings, not {values!r}.")
    return list(values)


def listed(method: str, **lists: list[str] | None) -> Step:
    """Return those of `lists` that are not empty."""
    found = {name: strings(method, name, values) for name, values in lists.items()}
    return {name: values for name, values in found.items() if values}


def mapping(method: str, name: str, values: object) -> dict[str, str]:
    """Return a mapping of strings to strings, an empty one for None."""
    values = {} if values is None else values
    if not hasattr(values, "items") or not all(isinstance(text, str) for pair in values.items() for text in pair):
        raise InvalidError(f"{method}: `{name}` must map strings to strings, not {values!r}.")
    return dict(values.items())


def variables(method: str, name: str, values: object) -> dict[str, str]:
    """Return environment variables: a mapping of strings to strings that a process can be given."""
    found = mapping(method, name, values)
    bad = next((key for key, text in found.items() if not key or "=" in key or "\0" in key + text), None)
    if bad is not None:
        raise InvalidError(
            f"{method}: {bad!r} cannot be an environment variable's name, or its value holds a null byte."
        )
    return found


def index_options(
    find_links: str | None, index_url: str | None, extra_index_url: str | None, pre: bool, extra_options: str
) -> Step:
    """Return where packages come from."""
    options = {
        "find_links": find_links,
        "index_url": index_url,
        "extra_index_url": extra_index_url,
        "extra_options": extra_options,
    }
    for name, value in options.items():
        if value is not None and not isinstance(value, str):
            raise InvalidError(f"`{name}` must be a string, not {value!r}.")
    check_words("extra_options", extra_options)
    return {**{name: value for name, value in options.items() if value}, **({"pre": True} if pre else {})}


def check_words(name: str, text: str) -> None:
    """Raise `InvalidError` if `text` cannot be split into words as a shell does."""
    import shlex

    try:
        shlex.split(text)
    except ValueError as error:
        raise InvalidError(f"`{name}` {text!r} cannot be split into words: {error}.") from None


def version_of(name: str, version: object) -> Step:
    """Return the release of a tool that is wanted, if one is."""
    if version is not None and not isinstance(version, str):
        raise InvalidError(f"`{name}` must be a string, not {version!r}.")
    return {name: version} if version else {}


def common(
    method: str,
    force_build: bool,
    env: Mapping[str, str | None] | None,
    secrets: object = None,
    **later: object,
) -> Step:
    """Return what every step may have. `later` is what cannot be had yet."""
    refuse(method, **later)
    if env is not None and not hasattr(env, "items"):
        raise InvalidError(f"{method}: `env` must map strings to strings, not {env!r}.")
    found = variables(method, "env", {name: value for name, value in (env or {}).items() if value is not None})
    return {
        **({"env": found} if found else {}),
        **({"secrets": read_secrets(f"{method}: secrets", secrets)} if secrets else {}),
        **({"force_build": True} if force_build else {}),
    }


def refuse(method: str, **parameters: object) -> None:
    """Raise `InvalidError` if any of the parameters asks for something."""
    for name, value in parameters.items():
        if value:
            raise InvalidError(f"{method}: `{name}` is not in Modicum yet; leave it out.")


def read_text(path: str) -> str:
    """Return the text of a local file that a step needs. Raises `InvalidError`."""
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidError(f"{path!r} is not the path of a file.")
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise InvalidError(f"The file {path!r}, which an image needs, cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidError(f"The file {path!r}, which an image needs, is no text in UTF-8.") from None


def project_dependencies(path: str, extras: list[str]) -> list[str]:
    """Return what a pyproject.toml depends on, with these optional dependencies."""
    project = read_toml(path).get("project", {})
    if "dependencies" not in project:
        raise InvalidError(
            f"{path!r} has no `dependencies` in [project]. If it has [tool.poetry.dependencies], use "
            "`Image.poetry_install_from_file()`; if they are in a uv.lock, `Image.uv_sync()`."
        )
    optional = project.get("optional-dependencies", {})
    unknown = next((extra for extra in extras if extra not in optional), None)
    if unknown is not None:
        known = ", ".join(sorted(optional)) or "none"
        raise InvalidError(f"{path!r} has no optional dependencies {unknown!r}; it has {known}.")
    return sorted([*project["dependencies"], *(name for extra in extras for name in optional[extra])])


def read_toml(path: str) -> dict[str, Any]:
    """Return what a local TOML file says. Raises `InvalidError`."""
    import tomllib

    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InvalidError(f"{path!r} is no valid TOML: {error}.") from None


def uv_sync(folder: str, frozen: bool, step: Step, uploads: dict[str, FileSet]) -> list[Step]:
    """Return the steps of `Image.uv_sync`: the project's files, its environment, and the place of that on the path."""
    project = os.path.join(os.path.expanduser(folder), "pyproject.toml")
    lock = os.path.join(os.path.expanduser(folder), "uv.lock")
    if "workspace" in read_toml(project).get("tool", {}).get("uv", {}):
        raise InvalidError(f"uv_sync: {project!r} is of a uv workspace, which is not supported.")
    files = {".uv/pyproject.toml": project}
    if os.path.exists(lock):
        files[".uv/uv.lock"] = lock
        step = {**step, **({"frozen": True} if frozen else {})}
    return [
        _added("uv_sync", files, step, uploads),
        {"op": "uv_sync", **step},
        {"op": "configure", "env": {"PATH": "/.uv/.venv/bin:$PATH"}, "expand": {}},
    ]


def poetry_install(
    project: str, lockfile: str | None, ignore_lockfile: bool, step: Step, uploads: dict[str, FileSet]
) -> list[Step]:
    """Return the steps of `Image.poetry_install_from_file`: the project's files, and what they say installed."""
    read_toml(project)
    files = {"tmp/poetry/pyproject.toml": os.path.expanduser(project)}
    if not ignore_lockfile:
        path = os.path.expanduser(lockfile or os.path.join(os.path.dirname(project), "poetry.lock"))
        if not os.path.exists(path):
            raise NotFoundError(
                f"There is no {os.path.abspath(path)}; without a lock file, pass `ignore_lockfile=True`."
            )
        files["tmp/poetry/poetry.lock"] = path
    return [_added("poetry_install_from_file", files, step, uploads), {"op": "poetry_install", **step}]


def _added(method: str, files: dict[str, str], step: Step, uploads: dict[str, FileSet]) -> Step:
    """Return the step that adds local files: path in the image → local path."""
    from modicum import _files

    added = _files.read(files.items(), method)
    uploads[added.id] = added
    words = f"{method}: {', '.join(os.path.basename(path) for path in files)}"
    forced = {"force_build": True} if step.get("force_build") else {}
    return {"op": "add_files", "files": added.id, "words": words, **forced}

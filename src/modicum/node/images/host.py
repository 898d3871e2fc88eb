"""Which of this machine's settings a build sees: certificates, package indexes, proxies, interpreters.

A build reaches the network as the machine itself does. Behind a company's proxy a `pip install` inside an image fails
without the machine's certificate bundle, and finds nothing without its package index. So the node collects these here,
and `mounts.py` lays them out for a step.

The keeper calls `host_paths()` on the host's side and makes each of these paths readable for the node **at the same
path**, even where a directory above it is 0700 or a file 0600. The node then reads them afresh at every build.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

COPIED_MINORS = ("3.12", "3.14")
"""Minors that no Debian suite has, or only one that not every archive has: their interpreter may come from the host."""

_CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)

_PIP_KEYS = frozenset(
    {"index-url", "extra-index-url", "find-links", "trusted-host", "no-index", "proxy", "timeout", "default-timeout"}
    | {"retries", "client-cert", "only-binary", "no-binary", "prefer-binary", "constraint", "use-feature"}
)
"""Settings that say where packages come from; those that say where to install would break the image."""

_FINDING_UV = threading.Lock()
"""It asks sysconfig, which gives a second thread half of its variables while the first fills them."""

_UV_VARIABLES = (
    "UV_INDEX",  # also UV_INDEX_URL, UV_INDEX_STRATEGY, UV_INDEX_<NAME>_USERNAME and _PASSWORD
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
    "UV_INSECURE_HOST",
    "UV_HTTP_",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_PYTHON_INSTALL_MIRROR",
)

_PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})

_LOCATORS = frozenset(
    {"PIP_CONFIG_FILE", "PIP_CERT", "SSL_CERT_FILE", "UV_CONFIG_FILE", "XDG_CONFIG_HOME", "PYENV_ROOT", "HOME"}
)
"""Variables that only say where the host keeps its settings."""

_PATH = re.compile(r"""(?:^|(?<=[\s"'=,\[]))(file://)?(/[^\s"',\]#]+)""", re.MULTILINE)
"""An absolute path or file:// URL in a setting, a TOML file or a variable; never the path of an https:// URL."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What was found. The texts and values still name host paths; `paths` are those to be mounted."""

    ca_bundle: Path | None = None
    pip_conf: str = ""
    uv_toml: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()


def host_paths(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the host's files and directories that builds read, none inside another.

    Never fails: what cannot be read is not there.
    """
    settings = collect(environ)
    found = [*_pip_files(environ), *_uv_files(environ), *settings.paths]
    if settings.ca_bundle is not None:
        found.append(settings.ca_bundle)
    for minor in COPIED_MINORS:
        found += interpreter_prefixes(minor, environ)
    uv = uv_binary()
    if uv is not None:
        found.append(uv)
    return _outermost(found)


def is_build_variable(name: str) -> bool:
    """Whether the server and the node must keep this variable of whoever started them, because builds need it."""
    return name in _LOCATORS or _reaches_packages(name)


def collect(environ: Mapping[str, str] = os.environ) -> HostSettings:
    """Read the host's settings as they are now."""
    pip_conf = _merged_pip_conf(_pip_files(environ))
    uv_toml = next((text for text in map(_read, _uv_files(environ)) if text), "")
    passed = {name: value for name, value in environ.items() if _reaches_packages(name)}
    texts = [pip_conf, uv_toml, *passed.values()]
    paths = tuple(_outermost(_named_paths(texts)))
    return HostSettings(_ca_bundle(environ), pip_conf, uv_toml, passed, paths)


def rewrite(text: str, mounted: Iterable[Path], below: str) -> str:
    """Return `text` with every path at or under one of `mounted` moved below the directory `below`."""
    roots = tuple(mounted)

    def moved(match: re.Match[str]) -> str:
        scheme, path = match.group(1) or "", Path(match.group(2))
        return f"{scheme}{below}{path}" if any(path.is_relative_to(root) for root in roots) else match.group(0)

    return _PATH.sub(moved, text)


def interpreter_prefixes(minor: str, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return installation prefixes on this machine that hold a complete CPython of this minor, newest micro first."""
    home = _home(environ)
    pyenv = Path(environ.get("PYENV_ROOT", home / ".pyenv"))
    found = [
        *_newest_first(pyenv / "versions", f"{minor}."),
        *_newest_first(home / ".local/share/uv/python", f"cpython-{minor}."),
        Path("/usr/local"),
        *_newest_first(Path("/opt"), ""),
    ]  # not /usr: distributions patch their Python to install elsewhere, and split it into packages
    return [prefix for prefix in dict.fromkeys(found) if _holds_python(prefix, minor)]


def uv_binary() -> Path | None:
    """Return the uv executable that was installed with this package, or None."""
    try:
        from uv import find_uv_bin

        with _FINDING_UV:
            return Path(find_uv_bin()).resolve()
    except (ImportError, FileNotFoundError):
        return None


def _reaches_packages(name: str) -> bool:
    if name.startswith("PIP_"):
        return name[4:].lower().replace("_", "-") in _PIP_KEYS
    return name.startswith(_UV_VARIABLES) or name.lower() in _PROXY_VARIABLES


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _config_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config")


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Files of pip's configuration, in pip's order: a later one overrides an earlier."""
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        _home(environ) / ".pip/pip.conf",
        _config_home(environ) / "pip/pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    return [path for path in files if _is_there(path)]


def _uv_files(environ: Mapping[str, str]) -> list[Path]:
    """Files of uv's configuration, the one that rules first."""
    named = [Path(environ["UV_CONFIG_FILE"])] if environ.get("UV_CONFIG_FILE") else []
    files = [*named, _config_home(environ) / "uv/uv.toml", Path("/etc/uv/uv.toml")]
    return [path for path in files if _is_there(path)]


def _ca_bundle(environ: Mapping[str, str]) -> Path | None:
    named = [environ[name] for name in ("SSL_CERT_FILE", "PIP_CERT") if environ.get(name)]
    return next((Path(path) for path in (*named, *_CA_BUNDLES) if _is_there(Path(path))), None)


def _merged_pip_conf(files: list[Path]) -> str:
    merged: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(_read(path))
        except configparser.Error:
            continue  # pip itself will have complained on the host
        for section in ("global", "install"):
            if parser.has_section(section):
                merged |= {key: value for key, value in parser.items(section) if key in _PIP_KEYS}
    lines = [f"{key} = " + value.strip().replace("\n", "\n    ") for key, value in merged.items()]
    return "\n".join(["[global]", *lines, ""]) if lines else ""


def _named_paths(texts: Iterable[str]) -> list[Path]:
    found = []
    for text in texts:
        for match in _PATH.finditer(text):
            path = Path(match.group(2))
            if _is_there(path):
                found.append(_whole_index(path) if match.group(1) and path.is_dir() else path)
    return found


def _whole_index(path: Path) -> Path:
    """Return the parent of a file:// index, whose pages usually link to `../../files/…`, unless all sorts of things
    lie there, as in /opt or a home directory.
    """
    parent = path.parent
    return parent if len(parent.parts) > 2 and parent != Path.home() and parent.parent != Path("/home") else path


def _holds_python(prefix: Path, minor: str) -> bool:
    return _is_there(prefix / f"bin/python{minor}") and _is_there(prefix / f"lib/python{minor}/ensurepip/__init__.py")


def _newest_first(folder: Path, prefix: str) -> list[Path]:
    try:
        names = [name for name in os.listdir(folder) if name.startswith(prefix)]
    except OSError:
        return []
    names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)], reverse=True)
    return [folder / name for name in names]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return kept


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""

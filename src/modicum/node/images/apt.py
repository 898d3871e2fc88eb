"""How the machine's apt configuration serves to bootstrap a Debian suite that may not be its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

WITHOUT_SECURITY = frozenset({"forky", "sid"})
"""Suites that have no `-security` beside them."""

_ETC = Path("/etc/apt")
_UNWANTED = ("::IndexTargets", "::Languages", "::CompressionTypes")


@dataclass(frozen=True, slots=True)
class AptSettings:
    """What a bootstrap takes over from the machine.

    `sources` is a deb822 list for the wanted suite; empty means mmdebstrap's own default mirror. `keys` are the files
    that it names as signers, `acquire` the machine's settings of how to download.
    """

    sources: str = ""
    acquire: str = ""
    keys: tuple[Path, ...] = ()


@dataclass(slots=True)
class _Stanza:
    """One entry of a sources list, as deb822 fields in lower case."""

    fields: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        return "".join(f"{name.title()}: {value}\n" for name, value in self.fields.items())


def host_settings(suite: str) -> AptSettings:
    """Return the machine's settings for `suite`: its mirrors with the codename replaced, if it is a Debian itself."""
    release = _os_release(_read(Path("/etc/os-release")))
    stanzas: list[_Stanza] = []
    if release.get("ID") == "debian" and (codename := release.get("VERSION_CODENAME")):
        stanzas = stanzas_for(suite, codename, _source_files())
    keys = {Path(path) for stanza in stanzas for path in _signers(stanza)}
    return AptSettings("\n".join(stanza.text() for stanza in stanzas), download_settings(), tuple(sorted(keys)))


def stanzas_for(suite: str, codename: str, files: Mapping[str, str]) -> list[_Stanza]:
    """Return the entries of the machine's own suite in `files` (name → text), rewritten for `suite`.

    Entries of anybody else's archive are left out: they may not have the suite, which would break the bootstrap.
    """
    own = {codename: suite, f"{codename}-updates": f"{suite}-updates", f"{codename}-security": f"{suite}-security"}
    absent = f"{suite}-security" if suite in WITHOUT_SECURITY else ""
    kept = []
    for name, text in files.items():
        for stanza in _deb822(text) if name.endswith(".sources") else _one_line(text):
            fields = stanza.fields
            wanted = [own[word] for word in fields.get("suites", "").split() if own.get(word, absent) != absent]
            if wanted and "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
                kept.append(_Stanza({**fields, "types": "deb", "suites": " ".join(wanted)}))
    return kept if any(suite in stanza.fields["suites"].split() for stanza in kept) else []


def _deb822(text: str) -> Iterator[_Stanza]:
    stanza, last = _Stanza(), ""
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            if stanza.fields:
                yield stanza
            stanza = _Stanza()
        elif line.startswith((" ", "\t")) and last:
            stanza.fields[last] += "\n" + line
        elif not line.startswith("#") and ":" in line:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            stanza.fields[last] = value.strip()


def _one_line(text: str) -> Iterator[_Stanza]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] != "deb":
            continue
        options: dict[str, str] = {}
        rest = words[1:]
        if rest and rest[0].startswith("["):
            inside, _, after = " ".join(rest)[1:].partition("]")
            options = _bracket_options(inside)
            rest = after.split()
        if len(rest) >= 2:
            known = {"types": "deb", "uris": rest[0], "suites": rest[1], "components": " ".join(rest[2:])}
            yield _Stanza({**known, **options} if rest[2:] else {**known, **options, "components": ""})


def _bracket_options(text: str) -> dict[str, str]:
    names = {"arch": "architectures", "lang": "languages"}
    pairs = (word.partition("=") for word in text.split())
    return {names.get(name.lower(), name.lower()): value.replace(",", " ") for name, _, value in pairs if value}


def _signers(stanza: _Stanza) -> list[str]:
    value = stanza.fields.get("signed-by", "")
    return value.split() if value.startswith("/") else []


def _source_files() -> dict[str, str]:
    parts = _ETC / "sources.list.d"
    found = sorted([*parts.glob("*.list"), *parts.glob("*.sources")])
    return {str(path): _read(path) for path in (_ETC / "sources.list", *found)}


@cache
def download_settings() -> str:
    """Return the machine's settings of how to download, which neither mmdebstrap nor an image reads by itself.

    The format of apt.conf allows the lists of `apt-config dump` as they are.
    """
    try:
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line for line in dump.splitlines() if line.startswith("Acquire::")]
    return "".join(f"{line}\n" for line in lines if not any(word in line for word in _UNWANTED))


def _os_release(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value.strip().strip("\"'") for name, _, value in pairs}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

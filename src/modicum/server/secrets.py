"""Which secrets there are, and how they are kept: encrypted, under a key that the database does not have.

A secret without a name has an id made of what it holds, by a keyed hash: who keeps the same again gets the same id, so
that a deploy which changes nothing changes nothing; and nobody without the key can try guesses on ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from modicum.server.records import Function
from modicum.stores import secrets as stored
from modicum.stores.database import Database
from modicum.stores.secrets import StoredSecret
from modicum.wire.channel import RemoteFailure

KEY_BYTES = 32
NONCE_BYTES = 12
FORMAT = b"\x01"
"""How content begins that is AES-256-GCM: this, a nonce, and the rest."""

NAMED_BYTES_MAX = 768 << 10
"""What the secrets of one function may have together: a process has about a MiB of variables, its image's included."""

KEPT_BYTES_MAX = 256 << 20
"""Containers make secrets, too: hostile code is not to fill the disk with them."""

_KEPT_BESIDES = 1024
"""What a secret takes beside its content, about, here and in the store: a million small ones are not small."""

UNUSED_KEPT_S = 3600.0
"""A secret that no function names is kept so long: who has just made it is about to make the function."""


class Secrets:
    """The secrets of one home. `home/secrets.key` is made with the first of them."""

    def __init__(self, home: Path, database: Database) -> None:
        self._path = home / "secrets.key"
        self._database = database
        self._known: dict[str, StoredSecret] = {}
        self._bytes = 0

    def restore(self, found: Iterable[StoredSecret]) -> None:
        """Take in what is stored."""
        self._known = {each.id: each for each in found}
        self._bytes = sum(map(_size, self._known.values()))

    async def keep(self, values: Mapping[str, str]) -> str:
        """Keep variables and return the secret's id, once they are durable."""
        text = json.dumps(values, sort_keys=True).encode()
        secret_id = f"st-{hmac.new(self._key(b'id'), text, hashlib.sha256).hexdigest()[:22]}"
        known = self._known.get(secret_id)
        content = self._encrypt(secret_id, text) if known is None else known.content
        kept = StoredSecret(secret_id, None, content, time.time())
        if known is None and self._bytes + _size(kept) > KEPT_BYTES_MAX:
            raise RemoteFailure(
                "resource_exhausted",
                f"all secrets together have more than {KEPT_BYTES_MAX:,} bytes; what nothing names goes after an hour",
            )
        if known is not None:
            self._known[secret_id] = kept  # a sweep that goes on meanwhile leaves it alone
        await self._database.submit(stored.add(kept))
        self._bytes += 0 if secret_id in self._known else _size(kept)
        self._known[secret_id] = kept
        return secret_id

    def check(self, ids: Iterable[str]) -> None:
        """Raise `RemoteFailure` unless there are these secrets, and one process can have all of them."""
        size = 0
        for each in ids:
            if each not in self._known:
                raise RemoteFailure("not_found", f"there is no secret {each}; if it was of another run, make it anew")
            size += len(self._known[each].content)
        if size > NAMED_BYTES_MAX:
            raise RemoteFailure(
                "invalid", f"the secrets of a function have {size:,} bytes together, more than {NAMED_BYTES_MAX:,}"
            )

    def variables(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the variables of secrets; the later one wins. Raises `RemoteFailure` if one cannot be read."""
        found: dict[str, str] = {}
        for each in ids:
            self.check([each])
            found |= self._decrypt(self._known[each])
        return found

    async def sweep(self, functions: Iterable[Function]) -> None:
        """Remove secrets that neither these functions name nor those of a version that is kept."""
        limit = time.time() - UNUSED_KEPT_S
        old = {each.id for each in self._known.values() if each.name is None and each.asked_at < limit}
        if not old:
            return
        used = {each for function in functions for each in named_by(function.definition)}
        for definition in await self._database.submit(stored.of_versions):
            used.update(named_by(json.loads(definition)))
        gone = {each for each in old - used if self._known[each].asked_at < limit}  # asked for again meanwhile: stays
        for each in gone:
            self._bytes -= _size(self._known.pop(each))
        if gone:
            await self._database.submit(stored.remove(gone))

    # -- the key -------------------------------------------------------------------------------------------

    @cached_property
    def _root_key(self) -> bytes:
        try:
            return self._read_key()
        except FileNotFoundError:
            if self._known:
                raise RemoteFailure(
                    "internal", f"{self._path} is gone, without which no secret can be read: restore it"
                ) from None
        except OSError as error:
            raise RemoteFailure("internal", f"{self._path} cannot be read: {error.strerror}") from error
        self._make_key()
        return self._read_key()

    def _read_key(self) -> bytes:
        handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            key = os.read(handle, KEY_BYTES + 1)
        finally:
            os.close(handle)
        if len(key) != KEY_BYTES:
            raise RemoteFailure("internal", f"{self._path} holds no key of {KEY_BYTES} bytes: restore it")
        return key

    def _make_key(self) -> None:
        """Make the key, for its owner's eyes only, whole or not at all: what it encrypts is stored next."""
        draft = self._path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(handle)
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _key(self, purpose: bytes) -> bytes:
        return hmac.new(self._root_key, b"modicum secrets: " + purpose, hashlib.sha256).digest()

    @cached_property
    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # takes 50 ms, and most servers have no secret

        return AESGCM(self._key(b"content"))

    def _encrypt(self, secret_id: str, text: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        content: bytes = self._cipher.encrypt(nonce, text, secret_id.encode())
        return FORMAT + nonce + content

    def _decrypt(self, secret: StoredSecret) -> dict[str, str]:
        from cryptography.exceptions import InvalidTag

        start = len(FORMAT) + NONCE_BYTES
        nonce, content = secret.content[len(FORMAT) : start], secret.content[start:]
        try:
            text = self._cipher.decrypt(nonce, content, secret.id.encode())
        except (InvalidTag, ValueError):
            raise RemoteFailure(
                "internal", f"the secret {secret.id} cannot be read: {self._path} is not the key that it was kept with"
            ) from None
        values: dict[str, str] = json.loads(text)
        return values


def _size(secret: StoredSecret) -> int:
    return len(secret.content) + _KEPT_BESIDES


def named_by(definition: Mapping[str, Any]) -> list[str]:
    """Return the secrets that a function's definition names, the later one wins."""
    return list(definition.get("options", {}).get("secrets", ()))

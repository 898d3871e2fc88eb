"""Which type, as programs ask for it, is a GPU whose driver gives it this name?"""

from __future__ import annotations

import re

from modicum.wire.gpus import MEMORY_MIB, NAME_LENGTH_MAX

_MAKERS = frozenset({"NVIDIA", "TESLA", "GEFORCE", "QUADRO"})

_ALIKE = {"A10G": "A10"}

_A100_LARGE_MIB = 60_000


def type_of(name: str, memory_mib: int) -> str:
    """Return the type: one of Modal's, else the name itself without its maker, as in `RTX-4090`."""
    words = [word for word in re.split(r"[^A-Z0-9.]+", name.upper()) if word and word not in _MAKERS]
    for word in words:
        if word == "A100":
            return "A100-80GB" if memory_mib >= _A100_LARGE_MIB else "A100-40GB"
        if (kind := _ALIKE.get(word, word)) in MEMORY_MIB:
            return kind
    if words[:3] == ["RTX", "PRO", "6000"]:
        return "RTX-PRO-6000"
    return "-".join(words)[:NAME_LENGTH_MAX] or "GPU"

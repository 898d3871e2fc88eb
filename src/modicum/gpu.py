"""The typed GPUs of earlier years: `gpu=modal.gpu.A100(count=2, size="80GB")` is now `gpu="A100-80GB:2"`.

Each is the text that is written now, with a warning where it is made.
"""

from __future__ import annotations

from modicum._old_names import say
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class _GPUConfig(str):
    """A type, and how many of it."""

    __slots__ = ()

    def __new__(cls, count: int = 1) -> Self:
        """Return the present text."""
        return cls._made(cls.__name__, count)

    @classmethod
    def _made(cls, kind: str, count: int) -> Self:
        text = kind if count == 1 else f"{kind}:{count}"
        say(f"modal.gpu.{cls.__name__}(…)", f'"{text}"')
        return str.__new__(cls, text)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class T4(_GPUConfig):
    """16 GB."""

    __slots__ = ()


class L4(_GPUConfig):
    """24 GB."""

    __slots__ = ()


class A10G(_GPUConfig):
    """24 GB."""

    __slots__ = ()


class L40S(_GPUConfig):
    """48 GB."""

    __slots__ = ()


class H100(_GPUConfig):
    """80 GB."""

    __slots__ = ()


class A100(_GPUConfig):
    """40 or 80 GB."""

    __slots__ = ()

    def __new__(cls, *, count: int = 1, size: str | None = None, memory: int | None = None) -> A100:
        """Return the present text. Raises `InvalidError` for a size that there is not."""
        if size is None and memory:
            size = f"{memory}GB"
        if size not in (None, "40GB", "80GB"):
            raise InvalidError(f"size={size!r} is invalid: an A100 has 40GB or 80GB")
        return cls._made("A100" if size is None else f"A100-{size}", count)


class Any(_GPUConfig):
    """Whichever is there."""

    __slots__ = ()

    def __new__(cls, *, count: int = 1) -> Any:
        """Return the present text."""
        return cls._made("any", count)


__all__ = ["A10G", "A100", "H100", "L4", "L40S", "T4", "Any"]

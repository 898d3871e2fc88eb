"""Generic types for the type checker that cost nothing when a container starts: `typing` is not imported."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
    O = TypeVar("O", covariant=True)  # noqa: E741
    T = TypeVar("T", covariant=True)
else:

    class Generic:
        """Stands for `typing.Generic`: any subscription is the class itself."""

        def __class_getitem__(cls, parameters):
            return cls

    P = R = O = T = None  # noqa: E741

__all__ = ["Generic", "O", "P", "R", "T"]

"""What `image.imports()` does with a module that only some containers have.

A container cannot know while it imports the program whether the block's image is its own: that shows when its function
has been found. So a block notes what failed, and the loader raises it if it was the image of the function.
"""

from __future__ import annotations

from modicum import _context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class imports:  # noqa: N801 - it is called as a function is
    """The block; what fails in it is added to `failed`."""

    def __init__(self, failed: list[Exception]) -> None:
        self._failed = failed

    def __enter__(self) -> None:
        """Begin it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._failed.append(error)
        if not isinstance(error, ImportError) and _context.is_local():
            import warnings

            warnings.warn(
                f"ignored in an `imports()` block, although it is no ImportError: {error!r}", UserWarning, stacklevel=2
            )
        return True

"""What runs in a container that is there only to be gone into."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def idle() -> Iterator[str]:
    """Tell in which container this is, and stay there until it is ended."""
    import os
    import threading

    yield os.environ["MODICUM_TASK_ID"]
    threading.Event().wait()

"""How the user hears what there is to say of what he asks for: once, where his app's output is shown."""

from __future__ import annotations

from modicum import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_told: set[str] = set()


def tell(answers: Iterable[dict[str, Any]]) -> None:
    """Show the remarks of the server in some of its answers."""
    for text in [each for answer in answers for each in answer.get("remarks", ())]:
        say(text)


def say(text: str) -> None:
    """Show a remark, unless it was shown before; without a display it is a warning."""
    if text in _told:
        return
    _told.add(text)
    if output.current is not None:
        output.current.remarked(text)
    else:
        import warnings

        from modicum._old_names import stack_depth

        warnings.warn(text, stacklevel=stack_depth())

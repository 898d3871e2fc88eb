"""How a function asks for the terminal of whoever runs its app: `modal.interact()`."""

from __future__ import annotations

from modicum import _context
from modicum.exception import InvalidError


class _Interact:
    """Take the user's terminal in the place of this input's stdin, stdout and stderr, until the input has ended.

    For programs that want a terminal from their beginning, such as `IPython.embed()` or a shell; `breakpoint()`,
    `pdb.set_trace()` and `input()` take it by themselves. While another container has it, this waits.

    Raises `InvalidError` outside of a function's container, and where the app does not run in interactive mode, as it
    does by `modicum run -i` and `app.run(interactive=True)`.
    """

    def __call__(self) -> None:
        if _context.is_local():
            raise InvalidError(
                "Interactivity only works inside a Modal Function's container: call modal.interact() in a function "
                "that `modicum run -i` runs"
            )
        if _context.interact is None:
            raise no_terminal("modal.interact()")
        _context.interact()

    async def aio(self) -> None:
        """The same, while the event loop goes on."""
        import asyncio

        await asyncio.to_thread(self)


interact = _Interact()


def no_terminal(what: str) -> InvalidError:
    """Return the error for a debugger where there is no terminal."""
    return InvalidError(
        f"Cannot use {what} without running Modal in interactive mode: it needs your terminal. Run the app by "
        "`modicum run -i`, or by `app.run(interactive=True)` below `modicum.enable_output()`"
    )

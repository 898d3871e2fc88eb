"""How a function of the user's program runs as a step of a build: `python3 -S build_step.py SOURCE MODULE NAME FILE`.

FILE holds its arguments. An exception ends the process with its traceback, which is what the build shows of it.
"""

import os
import sys

_CODE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[0] = _CODE


def main() -> None:
    """Import the function and call it."""
    from modicum import _context
    from modicum.agent.boot import complete_path
    from modicum.agent.endings import show
    from modicum.agent.loader import find
    from modicum.wire.values import loads

    source, module, name, path = sys.argv[1:]
    del sys.argv[1:]
    _context.socket_directory = ""  # it is no local process, and no server is there to be spoken to
    complete_path([source])
    try:
        function = find(module, name)
        with open(path, "rb") as file:
            args, kwargs = loads(file.read())
        function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - whatever the user's function raises
        show(error)
        sys.exit(1)


if __name__ == "__main__":
    main()

"""How a function of the user's program runs as a step of a build: `python3 -S build_step.py SOURCE MODULE NAME FILE`.

FILE holds its arguments. An exception ends the process with its traceback, which is what the build shows of it.
"""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main() -> None:
    """Import the function and call it."""
    from modicum import _context
    from modicum.agent.boot import complete_path
    from modicum.agent.loader import find
    from modicum.wire.values import loads

    source, module, name, path = sys.argv[1:]
    del sys.argv[1:]
    _context.socket_directory = ""  # it is no local process, and no server is there to be spoken to
    complete_path([source])
    function = find(module, name)
    with open(path, "rb") as file:
        args, kwargs = loads(file.read())
    function(*args, **kwargs)


if __name__ == "__main__":
    main()

"""How the agent's process begins: `python3 -S boot.py [SOURCE]`, with nothing but the standard library on the path.

SOURCE is where the user's source is, if that is not the working directory.

Says hello before it imports what the user's program needs, so that the server prepares the first input meanwhile.
"""

import os
import sys

_CODE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main() -> None:
    """Run the agent until it is told to exit."""
    sys.path[0] = _CODE  # in place of this file's own folder
    from modicum.agent.loop import Agent

    agent = Agent(os.environ.get("MODICUM_SOCKET", "/run/modicum"))
    complete_path(sys.argv[1:])
    del sys.argv[1:]  # the user's program has no arguments
    agent.run()


def complete_path(sources: list[str]) -> None:
    """Make the path what the user expects: his source, his directory, his packages, and ours behind them."""
    import site

    site.main()
    sys.path.remove(_CODE)
    sys.path[:0] = dict.fromkeys([*sources, os.getcwd()])
    sys.path.append(_CODE)


if __name__ == "__main__":
    main()

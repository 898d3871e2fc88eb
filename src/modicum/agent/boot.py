"""How the agent's process begins: `python3 -S boot.py`, with the standard library and nothing else on the path.

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
    _complete_path()
    agent.run()


def _complete_path() -> None:
    """Make the path what the user expects: his source, his packages, and ours behind them."""
    import site

    site.main()
    sys.path.remove(_CODE)
    sys.path.insert(0, os.getcwd())
    sys.path.append(_CODE)


if __name__ == "__main__":
    main()

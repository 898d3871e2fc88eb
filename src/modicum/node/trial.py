"""Whether a node would work here: one is started in an empty home, with everything it needs, and ends at once.

A program for `modicum doctor`: `python -m modicum.node.trial --home H --runtime R`; keeper.json of that home says what
came of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from modicum.runtimes import RUNTIMES

from .ids import NoSubordinateIds
from .keeper import Keeper, housing_of
from .layout import Layout, WrongOwner, prepare


def main() -> int:
    """Try it."""
    parser = argparse.ArgumentParser(prog="modicum.node.trial")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--runtime", choices=RUNTIMES, required=True)
    arguments = parser.parse_args()
    layout = Layout(arguments.home.resolve(), arguments.runtime)
    os.environ |= {"MODICUM_HOME": str(layout.home), "MODICUM_SERVER_GRACE_S": "0"}  # nobody serves it: it ends at once
    try:
        housing = housing_of(layout)
        prepare(layout, housing.root)
    except (NoSubordinateIds, WrongOwner, OSError) as failure:
        print(failure)
        return 1
    Keeper(layout, housing).try_once()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How `modicum serve` publishes an app anew: in a process of its own, which imports the program from the beginning."""

from __future__ import annotations

import json
import os
import sys

from modicum._alias import install_as_modal
from modicum._publishing import Publication
from modicum.cli.errors import reporting_errors
from modicum.cli.reference import load_app
from modicum.cli.watched import watched
from modicum.output import show_on


def main(reference: str, name: str, app_id: str, report: str, *as_module: str) -> None:
    """Import the app and publish it in the running one; write to a file descriptor what it is made of."""
    install_as_modal()
    with reporting_errors():
        app = load_app(reference, bool(as_module))
        with os.fdopen(int(report), "w") as told:
            json.dump(watched(app).as_json(), told)
        with show_on(), Publication(app, name, into=app_id, strategy="recreate"):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])

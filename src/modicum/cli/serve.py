"""`modicum serve`: run an app while it is being written. What is saved takes the place of what runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import click

from modicum._running import Run
from modicum.app import App
from modicum.cli import options
from modicum.cli.errors import warn
from modicum.cli.reference import load_app
from modicum.cli.watched import Watched, from_json, watched
from modicum.output import show_on

LOOK_EVERY_MS = 500


@click.command("serve")
@click.argument("reference", metavar="REF")
@click.option("-n", "--name", metavar="NAME", help="Call the app so, in place of its own name.")
@click.option("--timeout", metavar="SECONDS", type=float, help="End after so many seconds.")
@click.option("-m", "module", is_flag=True, help="REF names a module (pkg.mod), not a file.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line of output.")
@options.environment
def serve(reference: str, name: str | None, timeout: float | None, module: bool, timestamps: bool) -> None:
    """Run an app until interrupted, and again whenever one of its files is saved.

    Containers of what it was end then. If what was saved cannot be imported or built, the app stays as it was.

    \b
    modicum serve my_app.py
    modicum serve -m my_package.my_module
    """
    app = load_app(reference, module)
    called = (App(name).name if name is not None else app.name) or "app"  # the App checks the name
    made_of = watched(app)
    stamps = made_of.stamps()
    with show_on(timestamps=timestamps), Run(app, called) as running:
        served = _Served(reference, module, called, str(running.app_id))
        try:
            served.follow(made_of, stamps, timeout)
        except KeyboardInterrupt:
            click.echo("", err=True)


class _Served:
    """An app that runs, and what it is made of."""

    def __init__(self, reference: str, module: bool, name: str, app_id: str) -> None:
        self._command = [sys.executable, "-P", "-m", "modicum.cli.republish", reference, name, app_id]
        self._as_module = ["-m"] if module else []

    def follow(self, made_of: Watched, stamps: dict[str, int], timeout_s: float | None) -> None:
        """Publish what is saved, until the time is over."""
        stop = threading.Event()
        timer = threading.Timer(timeout_s, stop.set) if timeout_s is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        while not stop.is_set():
            newer = self._follow(made_of, stamps, stop)
            made_of, stamps = newer, newer.stamps()
        if timer is not None:
            timer.cancel()

    def _follow(self, made_of: Watched, stamps: dict[str, int], stop: threading.Event) -> Watched:
        """Publish what is saved; return when the app is made of other files, or the time is over."""
        from watchfiles import watch

        places = made_of.places()
        click.echo(f"Serving; a saved file is published. Watching {_listed(places)}; Ctrl-C ends it", err=True)
        looks = watch(
            *places,
            watch_filter=lambda change, path: made_of.counts(path),
            stop_event=stop,
            rust_timeout=LOOK_EVERY_MS,
            yield_on_timeout=True,
            recursive=False,
        )
        was_looked_at = False
        for changes in looks:
            # What was saved before anybody looked is seen by its time.
            if changes or (not was_looked_at and made_of.stamps() != stamps):
                newer = self._publish()
                if newer is not None and newer != made_of:
                    return newer
            was_looked_at = True
        return made_of

    def _publish(self) -> Watched | None:
        """Have a new process import the app and publish it; it tells what it is made of, unless that failed."""
        reading, writing = os.pipe()
        with open(reading) as told:
            try:
                command = [*self._command, str(writing), *self._as_module]
                child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[writing])
            finally:
                os.close(writing)
            try:
                text = told.read()
                failed = child.wait() != 0
            except BaseException:
                child.kill()
                child.wait()
                raise
        if failed:
            warn("the app stays as it was; save a file to try again")
        return from_json(json.loads(text)) if text else None


def _listed(places: list[str]) -> str:
    shown = [os.path.relpath(place) for place in places[:3]]
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(shown) + more

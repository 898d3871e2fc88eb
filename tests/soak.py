"""Does a spawned input ever get lost, or recorded twice, while server, keeper, node, agents and containers are killed?

`scripts/soak --seconds 90 --inputs 5000`: a deployed app is given inputs for so long, and meanwhile random processes of
this home are killed with -9. Then each input must have one output for ever (each run of a function gives another, and
it is asked for before and after a last kill of the server), and the log must know of the run that gave it. Runs are
counted: what was killed under way runs again. Ends with 1 if anything is missing. It is no test: it takes minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GET_WITHIN_S = 180.0
KILLS = ("server", "node", "keeper", "agent", "agent", "agent", "container", "container")
"""Who is killed, the more often the more of it there is."""


@dataclass
class Tally:
    """What happened."""

    spawned: dict[int, tuple[str, Any]] = field(default_factory=dict)  # number → function, call
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    spawning_s: float = 0.0
    emptying_s: float = 0.0
    runs: int = 0


# -- who is who ----------------------------------------------------------------------------------------------------


def processes() -> dict[int, tuple[int, str]]:
    """Return the parent and the command line of every process."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                parent = int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[1])
                command = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (OSError, ValueError):
                continue
            found[int(entry.name)] = parent, command
    return found


def below(pid: int, among: dict[int, tuple[int, str]]) -> Iterator[int]:
    """Yield a process' descendants."""
    for child, (parent, _) in among.items():
        if parent == pid:
            yield child
            yield from below(child, among)


def victims(kind: str) -> list[int]:
    """Return the processes of a kind that this home has now."""
    from modicum import _server

    link = _server.running()
    if link is None:
        return []
    with link:
        status = _server.ask(link, {"t": "server.status"})
    if kind in ("server", "node", "keeper"):
        pid = status["pid" if kind == "server" else f"{kind}_pid"]
        return [pid] if pid else []
    among = processes()
    agents = [pid for pid in below(status["keeper_pid"] or -1, among) if "modicum/agent/boot.py" in among[pid][1]]
    agents = [pid for pid in agents if not any(among[child][1] == among[pid][1] for child in below(pid, among))]
    return agents if kind == "agent" else [among[pid][0] for pid in agents]


def kill(kind: str, chance: random.Random, tally: Tally) -> None:
    """End one of a kind, if there is one."""
    try:
        found = victims(kind)
        if found:
            os.kill(chance.choice(found), signal.SIGKILL)
            tally.kills[kind] += 1
    except (OSError, KeyError, _errors()):
        pass  # it has just gone by itself, or there is no server to ask


def _errors() -> type[Exception]:
    from modicum.exception import Error

    return Error


# -- the soak ------------------------------------------------------------------------------------------------------


def spawn(functions: dict[str, Any], inputs: int, seconds: float, chance: random.Random, tally: Tally) -> None:
    """Give the app its inputs, spread over the time."""
    began = time.monotonic()
    for number in range(inputs):
        name = chance.choice(sorted(functions))
        tally.spawned[number] = name, functions[name].spawn(number, chance.choice([0.0, 0.0, 0.01, 0.05]))
        ahead = began + seconds * number / inputs - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    tally.spawning_s = time.monotonic() - began


def answers(tally: Tally) -> dict[int, str]:
    """Return the token that each input's output has; note those that have none, or a wrong one."""

    def answer(number: int) -> tuple[int, str]:
        name, call = tally.spawned[number]
        try:
            value, token = call.get(timeout=GET_WITHIN_S)
        except Exception as error:  # whatever it is, it is to be told
            tally.faults.append(f"{name} {number} ({call.object_id}): {type(error).__name__}: {error}")
            return number, ""
        if value != number:
            tally.faults.append(f"{name} {number}: its output is that of {value}")
        return number, str(token)

    with ThreadPoolExecutor(8) as threads:
        return dict(threads.map(answer, tally.spawned))


def effects() -> dict[tuple[str, int], set[str]]:
    """Return the tokens of all runs that the log knows of, by function and number."""
    from modicum.cli.log_reading import Where, find, stretch
    from tests.soak_work import NAME

    found: dict[tuple[str, int], set[str]] = {}
    for entries in stretch(find(NAME).id, Where(streams=("stdout",))):
        for line in b"".join(entry.text for entry in entries).decode().splitlines():
            word, name, number, token = line.split()
            assert word == "effect"
            found.setdefault((name, int(number)), set()).add(token)
    return found


def soak(arguments: argparse.Namespace, tally: Tally) -> None:
    """Deploy, give inputs, kill, wait until all have ended, and look."""
    import modicum
    from tests import soak_work

    chance = random.Random(arguments.seed)
    soak_work.app.deploy()
    functions = {name: modicum.Function.from_name(soak_work.NAME, name) for name in ("short", "together")}
    functions["leaving"] = modicum.Cls.from_name(soak_work.NAME, "Leaving")().work
    for function in functions.values():
        function.remote(-1, 0.0)  # its image is built before the time begins to count
    spawning = threading.Thread(target=spawn, args=(functions, arguments.inputs, arguments.seconds, chance, tally))
    spawning.start()
    killing = random.Random(arguments.seed + 1)
    while spawning.is_alive():
        spawning.join(killing.uniform(0.2, 2 * arguments.pause))
        kill(killing.choice(KILLS), killing, tally)
    began = time.monotonic()
    first = answers(tally)
    tally.emptying_s = time.monotonic() - began
    kill("server", killing, tally)
    again = answers(tally)
    tally.faults += [f"{n}: recorded twice: {first[n]}, {again[n]}" for n in first if first[n] != again[n]]
    done = effects()
    tally.runs = sum(len(tokens) for (_, number), tokens in done.items() if number >= 0)
    for number, (name, _) in tally.spawned.items():
        if first[number] and first[number] not in done.get((name, number), ()):
            tally.faults.append(f"{name} {number}: the log does not know of the run that gave its output")
    soak_work.app.stop()


def report(tally: Tally) -> None:
    """Say what happened."""
    kills = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.kills.items()))
    print(
        f"inputs   {len(tally.spawned)}, spawned in {tally.spawning_s:.1f} s; the last output came "
        f"{tally.emptying_s:.1f} s later"
    )
    print(f"kills    {sum(tally.kills.values())}: {kills}")
    print(f"runs     {tally.runs}: {tally.runs - len(tally.spawned)} more than inputs")
    print(f"faults   {len(tally.faults)}")
    for fault in tally.faults[:20]:
        print(f"  {fault}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long inputs are given and processes killed")
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between two kills, on average")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--home", help="the server's home, which is kept (default: one for this run)")
    arguments = parser.parse_args()
    home = arguments.home or tempfile.mkdtemp(prefix="modicum-soak-")
    os.environ["MODICUM_HOME"] = home
    print(f"seed {arguments.seed}, home {home}", flush=True)
    tally = Tally()
    try:
        soak(arguments, tally)
    finally:
        report(tally)
        end(home, keep=arguments.home is not None)
    sys.exit(1 if tally.faults or len(tally.spawned) != arguments.inputs else 0)


def end(home: str, keep: bool) -> None:
    """Stop the server, and remove a home of ours."""
    from modicum import _server

    link = _server.running()
    if link is not None:
        with link:
            pid = _server.ask(link, {"t": "server.status"})["pid"]
            _server.ask(link, {"t": "server.stop", "all": True})
        _server.wait_gone(pid, within_s=60)
    if not keep and f" {home}/" not in Path("/proc/self/mountinfo").read_text():  # a node's mounts are its own
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()

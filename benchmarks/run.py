"""Run the benchmarks, print what they found, and write RESULTS.md and the README's table of figures.

scripts/bench                      all of them
scripts/bench call_latency ...     these only, and nothing is written
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import HERE, Report, Setting, machine, table

BENCHMARKS = (
    "call_latency",
    "map_throughput",
    "mixed_map",
    "clients",
    "burst",
    "spawning",
    "queue_of_a_million",
    "schedule_lateness",
    "shared_state",
    "payloads",
    "whole_process",
    "upload",
    "rebuild",
    "cold_start",
    "executing",
)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--peers", help="the Python that has Ray and Celery")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()

    setting = Setting(sys.executable, asked.peers, asked.rounds)
    where = machine()
    reports = []
    for name in asked.benchmarks or BENCHMARKS:
        report: Report = importlib.import_module(name).measure(setting)
        print(report.markdown(), flush=True)
        reports.append(report)
    budget = _budget(reports)
    print(budget)
    if not asked.benchmarks:
        _write(where, budget, reports)


def _budget(reports: Sequence[Report]) -> str:
    rows = [[line.what, line.ours, line.peer, line.ratio, line.goal] for report in reports for line in report.figures]
    return table(["What", "Modicum", "Beside it", "Ratio", "Goal"], rows)


def _write(where: str, budget: str, reports: Sequence[Report]) -> None:
    heading = "# Results\n\nWritten by `scripts/bench`. Medians; each table's contestants took turns in the same run."
    sections = "\n".join(report.markdown() for report in reports)
    (HERE / "RESULTS.md").write_text(f"{heading}\n\n{where}.\n\n{budget}\n\n{sections}")
    readme = HERE.parent / "README.md"
    _replace_between(readme, "<!-- figures -->", "<!-- end of figures -->", f"\n{budget}\n\n{where}.\n")


def _replace_between(page: Path, start: str, end: str, text: str) -> None:
    written = re.sub(f"(?s){start}.*{end}", lambda _: start + text + end, page.read_text())
    page.write_text(written)


if __name__ == "__main__":
    main()

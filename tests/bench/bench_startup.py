"""Start-up time of `podvm-build --help`, beside that of Python alone and of a bare click program.

Run with the interpreter that podvm-build is installed for: `python tests/bench/bench_startup.py`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

ROUNDS = 15
CLICK = "import click\n@click.command()\ndef main(): pass\nmain(['--help'])"
PROGRAMS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "bare click --help": [sys.executable, "-c", CLICK],
    "podvm-build --help": [sys.executable, "-m", "podvm_builder", "--help"],
    "podvm-build --version": [sys.executable, "-m", "podvm_builder", "--version"],
}


def seconds(arguments: list[str]) -> float:
    """Return the wall time of one run."""
    start = time.perf_counter()
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Run the programs in turn, so that a busy moment falls on all of them, and print the medians."""
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for arguments in PROGRAMS.values():
        seconds(arguments)  # the first run compiles
    for _ in range(ROUNDS):
        for name, arguments in PROGRAMS.items():
            times[name].append(seconds(arguments))
    medians = {name: statistics.median(runs) * 1000 for name, runs in times.items()}
    base = medians["python -c pass"]
    print(f"{'program':<24}{'median ms':>10}{'over python':>13}")
    for name, median in medians.items():
        print(f"{name:<24}{median:>10.1f}{median - base:>13.1f}")
    print(json.dumps({"bench": "startup", "unit": "ms", "rounds": ROUNDS, "median": medians}))


if __name__ == "__main__":
    main()

"""`python -m tests.simulation run SEEDS [BASE]` and `... replay SEED [BUG]`, after `groups` for worlds with groups."""

import secrets
import sys
import time
from collections.abc import Callable, Mapping

from . import group_planted, group_run, planted
from . import run as task_run

Play = Callable[..., task_run.Report]


def run(simulate: Play, count: int, base: int) -> int:
    """Play worlds until one breaks a law."""
    began = time.perf_counter()
    for seed in range(base, base + count):
        report = simulate(seed)
        if report.broken is not None:
            print(f"seed {seed}: {report.broken}\nreplay it with the word replay instead of run")
            return 1
    took_s = time.perf_counter() - began
    print(f"{count} worlds from seed {base} kept every law in {took_s:.1f} s ({count / took_s:.0f}/s)")
    return 0


def replay(simulate: Play, seed: int, bug: planted.Planted) -> int:
    """Play one world and print each step."""
    report = simulate(seed, bug, print)
    print(f"seed {seed}, {report.turns} turns: {report.broken or 'every law held'}")
    return 1 if report.broken else 0


def main(arguments: list[str]) -> int:
    """Parse the command line."""
    simulate: Play = task_run.simulate
    bugs: Mapping[str, planted.Planted] = planted.BUGS
    if arguments[:1] == ["groups"]:
        simulate, bugs, arguments = group_run.simulate, group_planted.BUGS, arguments[1:]
    match arguments:
        case ["run", count]:
            return run(simulate, int(count), secrets.randbelow(10**9))
        case ["run", count, base]:
            return run(simulate, int(count), int(base))
        case ["replay", seed]:
            return replay(simulate, int(seed), planted.NOTHING)
        case ["replay", seed, bug] if bug in bugs:
            return replay(simulate, int(seed), bugs[bug])
    print(f"{__doc__}\nBUG is one of: {', '.join(map(repr, bugs))}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

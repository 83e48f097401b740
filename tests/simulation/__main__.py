"""`python -m tests.simulation run SEEDS [BASE]` and `... replay SEED [BUG]`."""

import secrets
import sys
import time

from .planted import BUGS, NOTHING
from .run import simulate


def run(count: int, base: int) -> int:
    """Play worlds until one breaks a law."""
    began = time.perf_counter()
    for seed in range(base, base + count):
        report = simulate(seed)
        if report.broken is not None:
            print(f"seed {seed}: {report.broken}\nreplay it: just sim-replay {seed}")
            return 1
    took_s = time.perf_counter() - began
    print(f"{count} worlds from seed {base} kept every law in {took_s:.1f} s ({count / took_s:.0f}/s)")
    return 0


def replay(seed: int, bug: str | None) -> int:
    """Play one world and print each step."""
    report = simulate(seed, BUGS[bug] if bug else NOTHING, print)
    print(f"seed {seed}, {report.turns} turns: {report.broken or 'every law held'}")
    return 1 if report.broken else 0


def main(arguments: list[str]) -> int:
    """Parse the command line."""
    match arguments:
        case ["run", count]:
            return run(int(count), secrets.randbelow(10**9))
        case ["run", count, base]:
            return run(int(count), int(base))
        case ["replay", seed]:
            return replay(int(seed), None)
        case ["replay", seed, bug] if bug in BUGS:
            return replay(int(seed), bug)
    print(f"{__doc__}\nBUG is one of: {', '.join(map(repr, BUGS))}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

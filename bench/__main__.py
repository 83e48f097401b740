"""Runs every measure three times and prints medians, spread and the ratio to reach: `just bench [NAME]`."""

import statistics
import sys
from collections.abc import Callable

import uvloop

from bench import batching, finding, following, ledger, limiting, locking, measures, restoring, slots
from natsume.adapters.nats.embedded import EmbeddedServer

RUNS = 3
Row = tuple[str, Callable[[dict[str, float]], float], str]

ROWS: dict[str, list[Row]] = {
    "submitting": [
        ("submit_many, of raw pipelined", lambda m: m["many"] / m["raw_many"], ">= 0.6"),
        ("submit, of raw awaited", lambda m: m["one"] / m["raw_one"], ">= 0.8"),
    ],
    "draining": [("drain, of the raw loop", lambda m: m["drain"] / m["raw_drain"], ">= 0.5")],
    "draining_batches": [
        ("100,000 in batches of 500, of plain", lambda m: m["together"] / m["plain"], ">= 2"),
    ],
    "idle_latency": [
        ("idle start p50, of raw p50", lambda m: m["p50_ms"] / m["raw_p50_ms"], "<= 2"),
        ("idle start p99, ms", lambda m: m["p99_ms"], "<= 5"),
    ],
    "urgent_latency": [("realtime start p99, ms", lambda m: m["p99_ms"], "<= 15")],
    "memory": [
        ("memory growth, MB", lambda m: m["after_200k_mb"] - m["after_20k_mb"], "<= 5"),
        ("memory after 200,000, MB", lambda m: m["after_200k_mb"], "< 90"),
    ],
    "joining": [("join of 10,000, of draining them plain", lambda m: m["join_s"] / m["plain_s"], "<= 1.6")],
    "child_latency": [
        ("commit to child p50, ms", lambda m: m["p50_ms"], "<= 3"),
        ("commit to child p99, ms", lambda m: m["p99_ms"], "<= 15"),
    ],
    "event_latency": [
        ("event to its task p50, ms", lambda m: m["p50_ms"], "<= 4"),
        ("event to its task p99, ms", lambda m: m["p99_ms"], "<= 25"),
    ],
    "due_at_once": [("2,000 due at once, last start, s", lambda m: m["last_s"], "<= 0.5")],
    "pending_memory": [("100,000 pending schedules, MB", lambda m: m["mb"], "<= 150")],
    "one_mutex": [
        ("200 of 10 ms on one mutex, of serial", lambda m: m["of_serial"], "<= 1.6"),
        ("deliveries a task", lambda m: m["deliveries"], "<= 2.2"),
    ],
    "own_mutexes": [
        ("an uncontended mutex adds p50, ms", lambda m: m["adds_p50_ms"], "<= 1"),
        ("each under its own mutex, tasks/s", lambda m: m["tasks_per_s"], ">= 1000"),
    ],
    "one_rate": [
        ("1,000 at 100/s, last start, s", lambda m: m["last_s"], "<= 11"),
        ("most starts in any second", lambda m: m["most"], "<= 101"),
        ("deliveries a task", lambda m: m["deliveries"], "<= 2.2"),
    ],
    "free_rate": [
        ("a limiter that is free adds p50, ms", lambda m: m["adds_p50_ms"], "<= 1"),
        ("tasks under it, of those under none", lambda m: m["limited"] / m["plain"], ">= 0.3"),
    ],
    "changed_limit": [("a changed limit holds in two workers, slowest of 100, ms", lambda m: m["max_ms"], "<= 1000")],
    "parked": [
        ("10,000 parked on one mutex, MB", lambda m: m["mb"], "<= 60"),
        ("start beside them p50, of alone", lambda m: m["beside_p50_ms"] / m["alone_p50_ms"], "<= 1.3"),
    ],
    "projecting_sqlite": [
        ("done records into SQLite, plain, /s", lambda m: m["plain"], ">= 5000"),
        ("done records into SQLite, effects, /s", lambda m: m["effects"], ">= 5000"),
    ],
    "projecting_mariadb": [
        ("done records into MariaDB, plain, /s", lambda m: m["plain"], ">= 3000"),
        ("done records into MariaDB, effects, /s", lambda m: m["effects"], ">= 3000"),
    ],
    "restoring_sqlite": [("100,000 tasks restored from SQLite, s", lambda m: m["s"], "<= 60")],
    "restoring_mariadb": [("100,000 tasks restored from MariaDB, s", lambda m: m["s"], "<= 60")],
    "ledger_lag": [
        ("ledger behind a submission, SQLite p99, ms", lambda m: m["sqlite_p99_ms"], "<= 2000"),
        ("ledger behind a submission, MariaDB p99, ms", lambda m: m["mariadb_p99_ms"], "<= 2000"),
    ],
    "draining_beside": [("drain beside a conductor, of alone", lambda m: m["beside"] / m["alone"], ">= 0.8")],
    "finding_sqlite": [
        ("a page of 1,000,000, SQLite, p50 of the slowest filter, ms", lambda m: max(m.values()), "<= 50")
    ],
    "finding_mariadb": [
        ("a page of 1,000,000, MariaDB, p50 of the slowest filter, ms", lambda m: max(m.values()), "<= 50")
    ],
    "slot_overhead": [
        ("a warm slot adds p50, ms", lambda m: m["medium_p50_ms"] - m["small_p50_ms"], "<= 1.5"),
    ],
    "fresh_process": [("large task, submission to execute p50, ms", lambda m: m["p50_ms"], "<= 250")],
    "starting": [
        ("worker ready, s", lambda m: m["worker_ready_s"], "<= 0.8"),
        ("--help, s", lambda m: m["help_s"], "<= 0.3"),
    ],
}


def once(name: str) -> dict[str, float]:
    """One run of a measure on a broker of its own."""
    with EmbeddedServer() as server:
        if name == "starting":
            return measures.starting(server.url)
        modules = (batching, finding, following, ledger, limiting, locking, measures, restoring, slots)
        module = next(module for module in modules if hasattr(module, name))
        return uvloop.run(getattr(module, name)(server))


def main(names: list[str]) -> int:
    """Print a line per row; 1 if a median misses what it must reach, 2 for a name that none has."""
    if unknown := sorted(set(names) - set(ROWS)):
        print(f"bench: there is no measure {', '.join(unknown)}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    missed = 0
    for name in names or list(ROWS):
        runs = [once(name) for _ in range(RUNS)]
        for key in runs[0]:
            print(f"  {name}.{key}: " + "  ".join(f"{run[key]:,.2f}" for run in runs))
        for title, value, bound in ROWS[name]:
            values = sorted(value(run) for run in runs)
            median = statistics.median(values)
            sign, _, limit = bound.partition(" ")
            good = median >= float(limit) if sign == ">=" else median <= float(limit)
            missed += not good
            spread = f"({values[0]:.2f} to {values[-1]:.2f})"
            print(f"{title:<40} {median:8.2f}  {spread:<18} {bound:<7} {'' if good else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

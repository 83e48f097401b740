"""What is wrong with an installation, found in facts that were gathered before: each with what to do."""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from natsume.core.lanes import Reading, judge, judge_effects
from natsume.model.lock import Hold, Standing
from natsume.model.subject import Lane

VERSION_MIN: Final = (2, 14)
SKEW_MAX_S: Final = 1.0
SYNC_MAX_S: Final = 1.0
HELD_LONG_S: Final = 3600.0
"""A lock that is held for longer while others wait may be worth a look."""

Severity = Literal["error", "warning", "note"]


class Finding(msgspec.Struct, frozen=True):
    """One thing to know: how bad, what it is, what to do about it."""

    severity: Severity
    subject: str
    sentence: str
    advice: str


class Durability(msgspec.Struct, frozen=True):
    """How often the server writes to disk for good; `problem` says why that could not be seen."""

    sync_always: bool = False
    sync_interval_s: float | None = None
    problem: str | None = None


class Facts(msgspec.Struct, frozen=True):
    """What was seen of an installation; None is what could not be looked at.

    `now` is the broker's time, `connected` the names of the connections to it.
    """

    url: str = ""
    unreachable: str | None = None
    version: str | None = None
    jetstream: str | None = None
    schedules_allowed: bool | None = None
    durability: Durability | None = None
    differences: tuple[str, ...] = ()
    skew_s: float | None = None
    lanes: dict[Lane, Reading] | None = None
    effects: Reading | None = None
    locks: tuple[Standing, ...] = ()
    now: float = 0.0
    connected: tuple[str, ...] | None = None
    problems: tuple[str, ...] = ()


def diagnose(facts: Facts) -> list[Finding]:
    """All findings, the worst first; none means that all is well."""
    order = ("error", "warning", "note")
    return sorted(_all(facts), key=lambda finding: order.index(finding.severity))


def _all(facts: Facts) -> Iterator[Finding]:
    yield from (
        Finding("error", "actors", sentence, "correct it, and look again with `natsume actors check`")
        for sentence in facts.problems
    )
    if facts.unreachable is not None:
        yield Finding(
            "error", "broker", facts.unreachable, "start it, or set NATSUME_NATS_URL and the credentials that it wants"
        )
        return
    yield from _server(facts)
    yield from _topology(facts)
    yield from _durability(facts.durability)
    yield from _clock(facts.skew_s)
    yield from _waiting(facts)
    yield from _locks(facts)


def _server(facts: Facts) -> Iterator[Finding]:
    wanted = ".".join(map(str, VERSION_MIN))
    if facts.version is not None and _numbers(facts.version) < VERSION_MIN:
        yield Finding(
            "error",
            "version",
            f"nats-server {facts.version} has no message schedules, or takes no batches",
            f"upgrade it to {wanted} or newer",
        )
    if facts.jetstream is not None:
        yield Finding(
            "error", "jetstream", facts.jetstream, "enable it with a `jetstream` block, as nats/server.conf does"
        )
    if facts.schedules_allowed is False:
        yield Finding(
            "error",
            "schedules",
            "the stream TASKS refuses schedules: no delay, retry or cron can work",
            "run `natsume topology apply`",
        )


def _topology(facts: Facts) -> Iterator[Finding]:
    if not facts.differences:
        return
    first, more = facts.differences[0], len(facts.differences) - 1
    rest = f" (and {more} more)" if more else ""
    yield Finding(
        "warning",
        "topology",
        f"the broker is not as the files say: {first}{rest}",
        "see `natsume topology diff`, then run `natsume topology apply`",
    )


def _durability(durability: Durability | None) -> Iterator[Finding]:
    if durability is None or durability.sync_always:
        return
    if durability.sync_interval_s is None:
        yield Finding(
            "note",
            "durability",
            f"how much a power cut may lose is unknown: {durability.problem}",
            "give --monitor-url, or look for sync_interval in the server's configuration",
        )
    elif durability.sync_interval_s > SYNC_MAX_S:
        yield Finding(
            "warning",
            "durability",
            f"a power cut may lose the last {durability.sync_interval_s:g} s of what was acknowledged",
            'set `sync_interval: "1s"` or `always`, as nats/server.conf and nats/server-always.conf do',
        )
    else:
        yield Finding(
            "note",
            "durability",
            f"a power cut may lose the last {durability.sync_interval_s:g} s of what was acknowledged",
            "nothing, or three replicas, or `sync_interval: always` (slower)",
        )


def _clock(skew_s: float | None) -> Iterator[Finding]:
    if skew_s is not None and abs(skew_s) > SKEW_MAX_S:
        where = "behind" if skew_s > 0 else "ahead of"
        yield Finding(
            "warning",
            "clock",
            f"this machine's clock is {abs(skew_s):.1f} s {where} the broker's",
            "synchronise both with NTP; times that people give are meant on the broker's clock",
        )


def _waiting(facts: Facts) -> Iterator[Finding]:
    for lane in facts.lanes or {}:
        judgement = judge(lane, facts.lanes or {})
        if judgement.word != "ok":
            severity: Severity = "error" if judgement.word == "no worker" else "warning"
            yield Finding(severity, f"lane {lane}", judgement.sentence, judgement.advice)
    if facts.effects is not None:
        judgement = judge_effects(facts.effects)
        if judgement.word != "ok":
            yield Finding("error", "effects", judgement.sentence, judgement.advice)


def _locks(facts: Facts) -> Iterator[Finding]:
    for lock in facts.locks:
        advice = f"see `natsume locks show {lock.name}`"
        for entry in lock.entries:
            own, age_s = entry.holding, facts.now - entry.holding.since
            if own.hold is not Hold.HELD:
                continue
            holder = f"task {own.task} on worker {own.worker or 'unknown'}"
            if lock.waiters and age_s > HELD_LONG_S:
                sentence = f"{holder} holds it for {age_s / 3600:.1f} h, and {lock.waiters} wait"
                yield Finding("warning", f"lock {lock.name}", sentence, advice)
            if entry.ends_at is None and _is_gone(own.worker, facts.connected):
                sentence = f"{holder} holds it, which is not connected; this lock does not end by itself"
                release = f"look at what it left, then `natsume locks release {lock.name} --why …`"
                yield Finding("warning", f"lock {lock.name}", sentence, release)


def _is_gone(worker: str, connected: tuple[str, ...] | None) -> bool:
    """Whether no connection is this worker's; not where nobody can tell."""
    return connected is not None and not any(name.rpartition(" ")[2] == worker for name in connected)


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version; `2.14.0-RC.1` counts as 2.14.0."""
    parts = version.partition("-")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())

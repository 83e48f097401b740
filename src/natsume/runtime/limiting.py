"""What limits a task, by which rules, and when it may start."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from natsume.actors.registry import Actor
from natsume.core import events as ev
from natsume.core import gcra
from natsume.core.gcra import Asked
from natsume.exceptions import UsageError
from natsume.locks import BaseLimiter, BaseLock, Semaphore
from natsume.model import limits, times
from natsume.model.limit_rule import ConcurrencyRule, RateRule, Share
from natsume.model.lock import Mode, Want
from natsume.ports import Limiters
from natsume.runtime.reserving import Reserving
from natsume.runtime.run import Run

_ROUNDS: Final = 3

RuleOf = Callable[[BaseLimiter | Semaphore, Actor, str | None], RateRule | ConcurrencyRule | None]
"""Takes a limiter or a semaphore, the actor of the task that names it and its tenant; None where a limiter is off."""


def rule_of(limiter: BaseLimiter | Semaphore, _actor: Actor, _tenant: str | None) -> RateRule | ConcurrencyRule | None:
    """The rule as the limiter's class says, or the semaphore itself."""
    return ConcurrencyRule(limiter.permits) if isinstance(limiter, Semaphore) else limiter.class_rule()


def as_declared(want: Want, _actor: Actor, _tenant: str | None) -> Want:
    """What a block of a task asks for, as its lock says."""
    return want


def wanted(
    locks: Iterable[BaseLock], rule: Callable[[BaseLimiter | Semaphore], RateRule | ConcurrencyRule | None]
) -> tuple[list[Want], list[Share]]:
    """What a task must hold, in the one order of all tasks, and what it takes of rate limiters, the slowest first.

    UsageError where one rate limiter has two rules, or there are too many.
    """
    wants: dict[tuple[str, Mode], Want] = {}
    shares: dict[str, Share] = {}
    for lock in locks:
        given = rule(lock) if isinstance(lock, BaseLimiter | Semaphore) else None
        if isinstance(given, RateRule):
            share = Share(lock.bucket_key, given, getattr(lock, "n_items", 1))
            shares[share.key] = _together(share, shares.get(share.key), lock)
        elif isinstance(given, ConcurrencyRule):
            own = lock.want
            varies = own.varies or own.permits != given.limit
            wants[own.key, own.mode] = msgspec.structs.replace(own, permits=given.limit, varies=varies)
        elif not isinstance(lock, BaseLimiter):
            wants[lock.bucket_key, lock.mode] = lock.want
    if len(shares) > limits.RATES_MAX:
        raise UsageError(f"{len(shares)} rate limiters are named; a task may have {limits.RATES_MAX}")
    slowest_first = sorted(shares.values(), key=lambda share: -share.rule.window_s / share.rule.limit)
    return [wants[key] for key in sorted(wants)], slowest_first


def _together(share: Share, known: Share | None, lock: BaseLock) -> Share:
    """What a task takes of a limiter that it names more than once."""
    if known is None:
        return share
    if known.rule != share.rule:
        raise UsageError(f"two rules are named for {lock.lock_key}; give one of them a further key")
    return Share(share.key, share.rule, share.items + known.items)


class Limiting:
    """Gets tasks their places under all their rate limiters."""

    def __init__(self, limiters: Limiters, now: Callable[[], float], room: Callable[[], bool]) -> None:
        """`now` is the broker's clock; `room` tells whether one more task may wait in hand."""
        self._reserving = Reserving(limiters)
        self._now = now
        self._room = room

    async def reserve(self, run: Run) -> ev.Granted | ev.Throttled:
        """Ask for the places that a run lacks: all must be good at one time, which the slowest limiter sets.

        The others are asked for a place at that time or later. What they have free before it stays for other
        tasks, so a place far ahead costs them nothing. BrokerError where there is no answer.
        """
        for _ in range(_ROUNDS):
            at = max([self._now(), *run.grants.values()])
            lacking = gcra.lacking(run.shares, run.grants, at, ahead=at > self._now())
            for share in lacking:
                place = await self._reserving.reserve(
                    share.key, Asked(share.rule, share.items, at + self._ahead(share))
                )
                if place is None:
                    now = self._now()
                    return ev.Throttled(now, now + times.RESERVE_AGAIN_S, {}, room=False)
                run.grants[share.name] = place
                at = max(at, place)
            if not lacking:
                break
        now = self._now()
        until = max(run.grants.values())
        if until <= now and not gcra.lacking(run.shares, run.grants, now):
            return ev.Granted()
        return ev.Throttled(now, max(until, now), dict(run.grants), self._room())

    def void(self, run: Run) -> bool:
        """Whether a place of a run has passed."""
        return bool(run.shares and gcra.lacking(run.shares, run.grants, self._now()))

    def _ahead(self, share: Share) -> float:
        """So far away is a broker that a place now would be void when its answer is here."""
        took_s = self._reserving.took_s
        return took_s if took_s > gcra.usable_s(share.rule) / 2 else 0.0

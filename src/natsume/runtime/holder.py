"""Takes locks for a running task that asks by `async with`: it waits in place, and holds them as its worker does."""

import asyncio
import logging
import time
from collections.abc import Callable
from random import random
from typing import Final

from natsume.actors.registry import Actor
from natsume.exceptions import BrokerError, LockNotAcquired, UsageError
from natsume.model.lock import Blocked, Holding, Want
from natsume.ports import Lease, Leases
from natsume.runtime.limiting import as_declared
from natsume.runtime.run import Run
from natsume.runtime.watch import Watch

_log = logging.getLogger(__name__)

_PAUSE_FIRST_S: Final = 0.01
_PAUSE_LAST_S: Final = 1.0


class Holder:
    """The locks of one run beyond its execution locks; a lock that the task has already is taken once more."""

    def __init__(
        self,
        leases: Leases,
        run: Run,
        watch: Watch,
        now: Callable[[], float],
        of_block: Callable[[Want, Actor, str | None], Want] = as_declared,
    ) -> None:
        """`now` is the broker's clock; `of_block` tells how many permits a lock has by now."""
        self._leases = leases
        self._run = run
        self._watch = watch
        self._now = now
        self._of_block = of_block
        self._blocks: dict[str, int] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def hold(self, want: Want, wait_s: float) -> int:
        """Take a lock, waiting for it at most so long; its fencing token. Raises LockNotAcquired."""
        async with self._turns.setdefault(want.key, asyncio.Lock()):
            lease = self._held(want)
            if lease is None:
                lease = await self._wait(want, wait_s)
                self._run.leases.append(lease)
                self._watch.add_lease(lease, self._run)
            elif not self._blocks.get(want.key):
                self._blocks[want.key] = 1  # an execution lock stays until the task ends
            self._blocks[want.key] = self._blocks.get(want.key, 0) + 1
            return lease.token

    async def give_back(self, want: Want) -> None:
        """Give back what was taken last of this lock; one that cannot be given back now is later."""
        self._blocks[want.key] -= 1
        if self._blocks[want.key]:
            return
        lease = self._held(want)
        if lease is None:
            return  # the task has ended, and has given back all
        self._run.check_leases(time.monotonic())
        self._run.leases.remove(lease)
        self._watch.drop_lease(lease)
        try:
            await self._leases.release(lease)
        except BrokerError as error:
            _log.warning("%s is not given back yet: %s", want.name, error)

    def _held(self, want: Want) -> Lease | None:
        held = (*self._run.leases, *self._run.shared)
        lease = next((one for one in held if one.want.key == want.key), None)
        if lease is not None and lease.want.mode is not want.mode:
            raise UsageError(
                f"this task holds {want.name} already, as {lease.want.mode}: it cannot also take it otherwise"
            )
        return lease

    async def _wait(self, want: Want, wait_s: float) -> Lease:
        """Ask until it is got; a lock that is waited for in place has no line, so that the pauses grow."""
        task = self._run.delivery.task
        holding = Holding(self._run.nonce, task.id, self._now(), worker=self._run.rules.worker, owner=task.owner)
        ends, pause_s = time.monotonic() + wait_s, _PAUSE_FIRST_S
        try:
            while True:
                got = await self._ask(self._as_allowed(want), holding)
                if isinstance(got, Lease):
                    return got
                left_s = ends - time.monotonic()
                if left_s <= 0:
                    raise LockNotAcquired(_refusal(want, wait_s, got))
                await asyncio.sleep(min(left_s, pause_s * (0.5 + random())))  # noqa: S311 - nobody gains by guessing it
                pause_s = min(2 * pause_s, _PAUSE_LAST_S)
        except BaseException:
            await self._withdraw(want, task.id)
            raise

    def _as_allowed(self, want: Want) -> Want:
        actor, tenant = self._run.actor, self._run.delivery.task.tenant
        return self._of_block(want, actor, tenant) if actor is not None else want

    async def _ask(self, want: Want, holding: Holding) -> Lease | Blocked | BrokerError:
        """Ask once; what is got after all by one that is stopped meanwhile is given back."""
        asking = asyncio.ensure_future(self._leases.acquire(want, holding))
        try:
            return await asyncio.shield(asking)
        except BrokerError as error:
            return error
        except asyncio.CancelledError:
            await asyncio.wait([asking])
            got = asking.exception() or asking.result()
            if isinstance(got, Lease):
                await self._leases.release(got)
            raise

    async def _withdraw(self, want: Want, task: str) -> None:
        """Let those go on that a writer's request keeps out."""
        try:
            await self._leases.wake(want.key, given_up_by=task)
        except BrokerError as error:
            _log.info("the request for %s ends by itself: %s", want.name, error)


def _refusal(want: Want, wait_s: float, got: Blocked | BrokerError) -> str:
    if isinstance(got, BrokerError):
        return f"{want.name} was not got within {wait_s:g} s: {got}"
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(got.since))
    holder = f"is held by task {got.task} since {since}" if got.task else "changes hands all the time"
    return f"{want.name} {holder}; it was waited for {wait_s:g} s, let the retry policy try again or give wait_s"

"""One call of `execute_batch()`: what came of it for each member, or that it must be split to find out."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from msgspec.structs import replace

from natsume.actors.registry import Actor
from natsume.binding import current
from natsume.children import Children
from natsume.core import events as ev
from natsume.depends import CallbackSpawner
from natsume.exceptions import (
    CancelHonoured,
    ResourceLimitExceeded,
    Snooze,
    TaskRetryRequestedError,
    UnretryableError,
    UsageError,
)
from natsume.given import HeldLocks
from natsume.member import Seat, seated
from natsume.model.record import Used, When
from natsume.ports import Lease
from natsume.runtime.execute import Ended, came_of
from natsume.runtime.failing import raised
from natsume.runtime.metering import Meter
from natsume.runtime.opening import task_info
from natsume.runtime.reaching import Reach, children_of
from natsume.runtime.run import Run

_log = logging.getLogger(__name__)

_OF_ALL: Final = (Snooze, TaskRetryRequestedError)
"""What the whole call may ask for in the name of all its members."""


class BatchCall:
    """The members of one call, and who interrupts it."""

    def __init__(self, runs: Sequence[Run], reach: Reach, now: Callable[[], float]) -> None:
        """`runs` are of one actor, at least one; `now` is the broker's clock."""
        assert runs[0].actor is not None
        self._runs = runs
        self._actor: Actor = runs[0].actor
        self._reach = reach
        self._now = now
        self._children: dict[str, Children] = {}
        self._cause: str | None = None
        self._entered = False

    def interrupt(self, run: Run, cause: str, *, again: bool) -> None:
        """Stop the call, unless that is the wish of a few: one that is cancelled, or has lost its lock, ends alone."""
        if self._cause and not again:
            return
        if cause == "cancel" and any(one.flag is None for one in self._runs):
            return
        if cause == "lease" and not all(one.lost for one in self._runs):
            return
        self._cause = self._cause or cause
        assert run.driver is not None
        run.driver.cancel()

    async def ended(self, leases: Sequence[Lease]) -> list[Ended] | None:
        """What came of it for each member in order; None where the call failed as a whole and is to be split."""
        since, at = asyncio.get_running_loop().time(), self._now()
        for run in self._runs:
            run.started_at, run.running_since, run.batch = at, since, self
        meter = Meter()
        try:
            with seated(self._seat_of):
                failed = _failed(await meter.of(self._call(leases)), self._runs, self._actor)
        except BaseException as error:  # noqa: BLE001 - also sys.exit() in a batch is a failure of a task in it
            return self._of_all(error, meter.used)
        finally:
            for run in self._runs:
                run.running_since = run.batch = None
                if run.teller is not None:
                    run.teller.end()
        now, used = self._now(), self._share(meter.used)
        plain = ev.Returned(at, now, b"null", used=used)
        if not failed:
            return [self._returned(run, plain) for run in self._runs]
        errors = [failed.get(run.delivery.task.id) for run in self._runs]
        return [
            self._returned(run, plain) if error is None else came_of(run, self._actor, error, now, used)
            for run, error in zip(self._runs, errors, strict=True)
        ]

    async def _call(self, leases: Sequence[Lease]) -> object:
        actor, tasks = self._actor, [run.task for run in self._runs]
        run_all: Any = actor.cls.execute_batch  # type: ignore[attr-defined]  # checked when it was registered
        if actor.plan.empty:
            self._entered = True
            return await run_all(tasks)
        given = {
            CallbackSpawner: CallbackSpawner(_OfMember()),
            HeldLocks: HeldLocks({lease.want.key: lease.token for lease in leases}),
        }
        async with actor.plan.open(given) as kwargs:
            self._entered = True
            return await run_all(tasks, **kwargs)

    @cached_property
    def _by_task(self) -> dict[int, Run]:
        return {id(run.task): run for run in self._runs}

    def _seat_of(self, task: object) -> Seat:
        run = self._by_task.get(id(task))
        if run is None:
            raise UnretryableError(f"member() takes a task of this batch, that very object, not {task!r:.200}")
        children = self._children.get(run.nonce)
        if children is None:
            children = self._children[run.nonce] = children_of(run, self._reach)
        return Seat(task_info(run), children, self._reach.locker(run))

    def _returned(self, run: Run, plain: ev.Returned) -> ev.Returned:
        """What a member's success is: `plain`, unless it has children, told of its progress or was flagged."""
        children = self._children.get(run.nonce) if self._children else None
        if children is not None:
            plain = replace(plain, children=children.collected, groups=children.groups, chunks=children.chunks)
        if run.progress is None and run.flag is None:
            return plain
        return replace(plain, progress=run.progress, flagged=run.flag is not None)

    def _share(self, used: Used) -> Used:
        """What one member took, so that the sum over all is what the call took."""
        count = len(self._runs)
        cpu_s = None if used.cpu_s is None else round(used.cpu_s / count, 6)
        return Used(round(used.wall_s / count, 6), cpu_s)

    def _of_all(self, error: BaseException, used: Used) -> list[Ended] | None:
        """What a call that raised is to its members: an order of ours or a wish for all of them, else it is split."""
        now, used = self._now(), self._share(used)
        if isinstance(error, asyncio.CancelledError) and self._cause is not None:
            return self._stopped(now, used)
        stopping = isinstance(error, CancelHonoured) and self._runs[0].stopping
        if len(self._runs) == 1 or not self._entered or stopping or isinstance(error, _OF_ALL):
            return [came_of(run, self._actor, error, now, used) for run in self._runs]
        _log.info("a batch of %d %s is split, for it raised %r", len(self._runs), self._actor.name, error)
        return None

    def _stopped(self, now: float, used: Used) -> list[Ended] | None:
        driver = asyncio.current_task()
        assert driver is not None
        while driver.cancelling():
            driver.uncancel()
        if self._cause == "timeout" and len(self._runs) > 1:
            _log.warning("a batch of %d %s is split, for it ran too long", len(self._runs), self._actor.name)
            return None
        return [self._stopped_one(run, now, used) for run in self._runs]

    def _stopped_one(self, run: Run, now: float, used: Used) -> Ended:
        if self._cause == "timeout":
            late = ResourceLimitExceeded(self._actor.name, "timeout_s", self._actor.timeout_s, now - run.started_at)
            return raised(run, self._actor, late, now, used)
        if self._cause == "cancel" and run.flag is not None:
            return ev.Honoured(run.started_at, now, run.flag, "it was interrupted", run.progress, used)
        return ev.Interrupted(run.started_at, now)


class _OfMember:
    """Spawns for the task of the `with member(task):` block that it is called in (a Spawner)."""

    async def spawn_with_callback(
        self, children: Any, callback: object, *, on_failure: object | None = None, when: When = When.ALL_SUCCEEDED
    ) -> str:
        """Take a group; the id of its join."""
        bound: Any = current()
        if not isinstance(bound, Children):
            raise UsageError("a group has no parent here: spawn it inside `with member(task):`")
        return await bound.spawn_with_callback(children, callback, on_failure=on_failure, when=when)


def _failed(result: object, runs: Sequence[Run], actor: Actor) -> Mapping[str, BaseException]:
    """Which members failed, as the call returned it; what cannot be understood fails all, for any may be meant."""
    if result is None:
        return {}
    ids = {run.delivery.task.id for run in runs}
    if isinstance(result, Mapping):
        if all(key in ids and isinstance(error, BaseException) for key, error in result.items()):
            return result
        wrong = next(
            f"{key!r}: {error!r}"
            for key, error in result.items()
            if key not in ids or not isinstance(error, BaseException)
        )
        return dict.fromkeys(
            ids, UnretryableError(f"{actor.name}.execute_batch returned {wrong:.200}, which {_EXPECTED}")
        )
    sentence = f"{actor.name}.execute_batch returned a {type(result).__name__}, which {_EXPECTED}"
    return dict.fromkeys(ids, UnretryableError(sentence))


_EXPECTED: Final = "is not the id of one of its tasks with its exception; return None where all succeeded"

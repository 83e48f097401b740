"""Opens a delivery whose slot is free: finds its actor, reads its arguments, says what ails it."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from natsume.actors.registry import Actor, Registry
from natsume.base_task import BaseTask
from natsume.children import Children
from natsume.control import TaskControl
from natsume.core import events as ev
from natsume.core import tick
from natsume.core.delivery import Rules, is_doubtful, is_suspect
from natsume.depends import CallbackSpawner
from natsume.exceptions import ArgumentsError, Unparsable
from natsume.given import HeldLocks, TaskInfo
from natsume.model.limits import ARGUMENTS_MAX
from natsume.model.lock import Blocked
from natsume.model.task import Fault, Reason
from natsume.model.told import Flag
from natsume.ports import Boots
from natsume.results import JoinResults
from natsume.runtime.limiting import RuleOf, rule_of, wanted
from natsume.runtime.run import Run
from natsume.runtime.strikes import none_stands
from natsume.settings import Settings

Override = Callable[[Actor, str | None], Actor]
"""Takes an actor and its task's tenant, gives the actor as it is configured to run."""


def as_it_is(actor: Actor, _tenant: str | None) -> Actor:
    """The actor as its class says."""
    return actor


class Opening:
    """What is wrong with a delivery is a fault in its first event, never an exception."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        now: Callable[[], float],
        boots: Boots,
        overrides: Override = as_it_is,
        stale: Callable[[float], bool] = lambda _age_s: False,
        flag: Callable[[str], Flag | None] = lambda _task_id: None,
        rule: RuleOf = rule_of,
        struck: Callable[[Actor, BaseTask], Blocked | None] = none_stands,
    ) -> None:
        """`stale` tells whether this process stood still so long that others may have its deliveries.

        `flag` tells of a task that it is to be cancelled.
        """
        self._registry = registry
        self._settings = settings
        self._now = now
        self._boots = boots
        self._overrides = overrides
        self._stale = stale
        self._flag = flag
        self._rule = rule
        self._struck = struck
        self._rules: dict[str, Rules] = {}

    def opened(self, *runs: Run) -> list[ev.Opened]:
        """The first event of each run; the runs learn their actors, their arguments and their rules."""
        now, stale = self._now(), self._stale(self._settings.ack_wait_s / 2)
        return [self._opened(run, now, stale) for run in runs]

    def _opened(self, run: Run, now: float, stale: bool) -> ev.Opened:
        delivery = run.delivery
        actor = run.actor = self._registry.get(delivery.task.actor)
        fault = delivery.fault
        if actor is None:
            run.rules = self._rules_of_unknown(run)
            fault = fault or _read_size(run) or _unknown(run)
        else:
            actor = run.actor = self._overrides(actor, delivery.task.tenant)
            run.rules = self._rules_of(actor)
            fault = fault or _read_arguments(run, actor)
            if actor.needs_locks and fault is None:
                fault = self._read_locks(run, actor)
        delivery.doubted = delivery.doubted or stale or is_doubtful(delivery, self._boots.boot)
        not_before = tick.starts_at(delivery.task, run.rules.ticks) if delivery.task.schedule else 0.0
        struck = self._struck(actor, run.task) if actor is not None and fault is None else None
        run.flag = self._flag(delivery.task.id)
        suspect = is_suspect(delivery)
        return ev.Opened(now, run.nonce, suspect, bool(run.wants), fault, not_before, struck, flag=run.flag)

    def _read_locks(self, run: Run, actor: Actor) -> Fault | None:
        tenant = run.delivery.task.tenant
        try:
            run.wants, run.shares = wanted(run.task.execution_locks, lambda one: self._rule(one, actor, tenant))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the actor's own code, made of nothing but the arguments
            return Fault(Reason.INVALID_ARGUMENTS, f"its execution_locks failed: {type(error).__name__}: {error}")
        if run.shares:
            run.rules = replace(run.rules, limited=True)
            names = {share.name for share in run.shares}
            run.grants = {name: at for name, at in run.grants.items() if name in names}
        return None

    def _rules_of(self, actor: Actor) -> Rules:
        rules = self._rules.get(actor.name)
        if rules is None:
            rules = self._rules[actor.name] = Rules(
                actor.name,
                actor.lane,
                actor.dlq_eligible,
                actor.drop_on_shutdown,
                self._settings.max_crashes,
                self._settings.ack_wait_s,
                self._settings.worker,
                tick_rules(actor),
                wait_limit_s=actor.wait_limit_s,
                on_wait_limit=actor.on_wait_limit,
            )
        return rules

    def _rules_of_unknown(self, run: Run) -> Rules:
        task, settings = run.delivery.task, self._settings
        return Rules(task.actor, task.lane, ack_wait_s=settings.ack_wait_s, worker=settings.worker)


def tick_rules(actor: Actor) -> tick.TickRules:
    """What an actor says of its ticks; of one that is periodic by configuration alone, what most say."""
    own = actor.periodic
    if own is None:
        return tick.TickRules()
    return tick.TickRules(own.catch_up, own.catch_up_window_s, own.overlap, own.jitter_s)


def given(run: Run, actor: Actor, children: Children, results: JoinResults) -> dict[type, Any]:
    """What the worker itself can inject."""
    return {
        TaskInfo: task_info(run),
        TaskControl: children.control() if children.control and actor.plan.gives(TaskControl) else None,
        HeldLocks: HeldLocks({lease.want.key: lease.token for lease in run.leases}),
        CallbackSpawner: CallbackSpawner(children),
        JoinResults: results,
    }


def task_info(run: Run) -> TaskInfo:
    """What the worker tells of the task of a run."""
    task, worker = run.delivery.task, run.rules.worker
    told = task.submitted_at, task.owner, task.tenant, task.parent, task.labels
    return TaskInfo(task.id, task.actor, task.attempt, worker, *told)


def _unknown(run: Run) -> Fault:
    return Fault(Reason.UNKNOWN_ACTOR, f"no worker here knows the actor {run.delivery.task.actor!r}")


def _read_size(run: Run) -> Fault | None:
    """What no actor may take is not offered to others: with its headers it might not fit the stream again."""
    size = len(run.delivery.task.body)
    if size <= ARGUMENTS_MAX:
        return None
    return Fault(Reason.INVALID_ARGUMENTS, f"the arguments have {size} bytes, more than {ARGUMENTS_MAX}")


def _read_arguments(run: Run, actor: Actor) -> Fault | None:
    try:
        run.task = actor.arguments.decode(run.delivery.task.body)
    except Unparsable as error:
        return Fault(Reason.UNPARSABLE, str(error))
    except (ArgumentsError, SystemExit) as error:
        return Fault(Reason.INVALID_ARGUMENTS, str(error))
    return None

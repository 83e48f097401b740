"""Bugs planted on purpose: each must break a law, or the laws see nothing."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from natsume.adapters.nats.leases import KvLeases
from natsume.core import effects as do
from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core.delivery import Delivery, Rules, is_suspect
from natsume.core.rows import Step

from .locks import planted as locks
from .worker import Table, Worker
from .world import Message, Options


class Planted:
    """A bug by its name: how it uses the broker, how it spoils a worker."""

    def __init__(
        self, name: str, options: Options | None = None, spoil: Callable[[Worker], None] | None = None
    ) -> None:
        self.name = name
        self.options = options or Options()
        self._spoil = spoil

    def spoil(self, worker: Worker) -> None:
        """Put the bug into a worker that starts."""
        if self._spoil is not None:
            self._spoil(worker)


def _table(change: Callable[[Step, at.Phase, Delivery, ev.Event], Step]) -> Callable[[Worker], None]:
    def spoil(worker: Worker) -> None:
        table: Table = worker.table

        def changed(phase: at.Phase, delivery: Delivery, rules: Rules, event: ev.Event) -> Step:
            return change(table(phase, delivery, rules, event), phase, delivery, event)

        worker.table = changed

    return spoil


def _ack_first(step: Step, phase: at.Phase, _d: Delivery, _e: ev.Event) -> Step:
    """Each acknowledgement moves from the close to the commit."""
    after, effects = step
    if isinstance(phase, at.Running) and isinstance(after, at.Committing):
        return after, (do.Acknowledge(), *effects)
    return after, tuple(e for e in effects if not (isinstance(phase, at.Committing) and type(e) is do.Acknowledge))


def _same_hop(step: Step, _p: at.Phase, delivery: Delivery, _e: ev.Event) -> Step:
    after, effects = step
    return after, tuple(
        do.Arm(replace(e.task, hop=delivery.task.hop), e.at) if isinstance(e, do.Arm) else e for e in effects
    )


def _keep_marks(step: Step, _p: at.Phase, _d: Delivery, _e: ev.Event) -> Step:
    after, effects = step
    return after, tuple(e for e in effects if not isinstance(e, do.Unmark))


def _forget_loss(step: Step, phase: at.Phase, _d: Delivery, event: ev.Event) -> Step:
    return (phase, ()) if isinstance(event, ev.LeaseGone) else step


def _drop_failed_copy(step: Step, phase: at.Phase, _d: Delivery, event: ev.Event) -> Step:
    known = isinstance(event, ev.LookedUp) and event.history.failed is not None and event.history.done is None
    if known and isinstance(phase, at.Checking):
        return at.Closed(), (do.ReleaseLocks(), do.Acknowledge())
    return step


def _mark_redelivered_only(step: Step, phase: at.Phase, delivery: Delivery, event: ev.Event) -> Step:
    unmarked = isinstance(event, ev.LookedUp) and event.history.started is None and delivery.delivered == 1
    if unmarked and isinstance(phase, at.Checking) and isinstance(step[0], at.Marking):
        return at.Running(phase.nonce), (do.Execute(),)
    return step


def _forget_being_alone(step: Step, _p: at.Phase, _d: Delivery, event: ev.Event) -> Step:
    after, effects = step
    if isinstance(event, ev.MarkRefused) and isinstance(after, at.Checking):
        return at.Checking(after.nonce), effects
    return step


def _ask_nobody(worker: Worker) -> None:
    table: Table = worker.table

    def asking(phase: at.Phase, delivery: Delivery, rules: Rules, event: ev.Event) -> Step:
        event = replace(event, goes_on=False) if isinstance(event, ev.Answered) else event
        return table(phase, delivery, rules, event)

    worker.table = asking


def _start_unwritten(step: Step, phase: at.Phase, _d: Delivery, _e: ev.Event) -> Step:
    if isinstance(phase, at.Checking) and isinstance(step[0], at.Marking) and not step[0].crashes:
        return at.Running(phase.nonce), (do.Execute(),)
    return step


def _start_successors_unwritten(step: Step, phase: at.Phase, delivery: Delivery, event: ev.Event) -> Step:
    return step if delivery.doubted or delivery.resent else _start_unwritten(step, phase, delivery, event)


def _note_nothing(worker: Worker) -> None:
    worker.note_all = lambda: None  # type: ignore[method-assign]


def _settle_at_once(worker: Worker) -> None:
    refresh = worker.refresh

    def hasty() -> None:
        refresh()
        worker.boot = replace(worker.boot, settled_at=0.0)

    worker.refresh = hasty  # type: ignore[method-assign]


def _count_deliveries(worker: Worker) -> None:
    arrived = worker.arrived

    def counting(message: Message) -> None:
        attempt = max(message.task.attempt, message.delivered + 1)
        message.task = replace(message.task, attempt=attempt)
        arrived(message)

    worker.arrived = counting  # type: ignore[method-assign]


def _ignore_boot_mark(worker: Worker) -> None:
    worker.suspects = lambda delivery, since: is_suspect(delivery)  # type: ignore[method-assign]
    worker.doubt = lambda: None  # type: ignore[method-assign]


def _trust_the_old(worker: Worker) -> None:
    suspects = worker.suspects
    worker.suspects = lambda delivery, since: suspects(delivery, worker.world.now)  # type: ignore[method-assign]
    worker.doubt = lambda: None  # type: ignore[method-assign]


def _trust_the_fired(worker: Worker) -> None:
    def suspects(delivery: Delivery, since: float) -> bool:
        return not delivery.fired and Worker.suspects(worker, delivery, since)

    worker.suspects = suspects  # type: ignore[method-assign]


def _never_alone(worker: Worker) -> None:
    worker.can_advance = lambda run: True  # type: ignore[method-assign]


def _use_what_is_void(worker: Worker) -> None:
    worker.carry.lacking = lambda shares, grants, _: [share for share in shares if share.name not in grants]


def _locks(adapter: type[KvLeases]) -> Callable[[Worker], None]:
    def spoil(worker: Worker) -> None:
        worker.locks.adapter = adapter

    return spoil


def _heed_no_flags(worker: Worker) -> None:
    worker.heeds_flags = False


NOTHING: Final = Planted("nothing")

BUGS: Final = {
    bug.name: bug
    for bug in (
        Planted("ack before the commit", None, _table(_ack_first)),
        Planted("no fence on the done record", Options(done_is_fenced=False)),
        Planted("attempts counted from deliveries", None, _count_deliveries),
        Planted("no look-up after a broker's crash", None, _ignore_boot_mark),
        Planted("one later subject for all hops", Options(hop_in_subject=False, later_is_fenced=False)),
        Planted("successor armed on the same hop", None, _table(_same_hop)),
        Planted("marks are not taken back", None, _table(_keep_marks)),
        Planted("a lost lease is ignored", None, _table(_forget_loss)),
        Planted("a poison task beside others", None, _never_alone),
        Planted("a fired copy is trusted", None, _trust_the_fired),
        Planted("a copy that aged in a buffer is trusted", None, _trust_the_old),
        Planted("a copy that waited is not marked", None, _table(_mark_redelivered_only)),
        Planted("who runs a task is not asked", None, _ask_nobody),
        Planted("a copy's start is not written", None, _table(_start_unwritten)),
        Planted("a successor's start is not written", None, _table(_start_successors_unwritten)),
        Planted("what outlives the broker is not noted", None, _note_nothing),
        Planted("a suspect does not wait for the notes", None, _settle_at_once),
        Planted("a flag is not heeded", None, _heed_no_flags),
        Planted("a schedule is removed before the commit", Options(commit_before_removal=False)),
        Planted("being alone is forgotten", None, _table(_forget_being_alone)),
        Planted("a place that has passed is used", None, _use_what_is_void),
        Planted("a failed copy is dropped, not helped", None, _table(_drop_failed_copy)),
        Planted("a lease is renewed without a TTL", None, _locks(locks.RenewsWithoutTtl)),
        Planted("a release ends what stands", None, _locks(locks.ReleasesWhatStands)),
        Planted("a writer is fenced by its place alone", None, _locks(locks.FencesTheSlotAlone)),
        Planted("writes are not fenced", Options(writes_are_fenced=False)),
        Planted("tokens are read from a clock", None, _locks(locks.TokensOfAClock)),
        Planted("locks are not fenced", None, _locks(locks.FencesNothing)),
    )
}

"""Whether what the records and the tables say is what the service submitted; pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from natsume.model.record import Done
from natsume.model.task import State
from natsume_examples.demo.plan import Plan, Planned
from natsume_examples.pilots.logic import ACTIVE, Status
from natsume_examples.pilots.tasks import MyPilotTask


@dataclass(frozen=True)
class Facts:
    """All that is known at the end: the service's own list, the broker's records, the tables."""

    submitted: Mapping[str, Planned]
    done: Sequence[Done]
    done_ids: Sequence[str]  # one for each done record in the stream, whoever submitted its task
    syncs: frozenset[str]
    pilots: Mapping[str, tuple[str, Status]]
    tasks_left: int = 0
    killed: str = ""
    interrupted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Summary:
    """The counts that the demo ends with."""

    rows: Mapping[str, Counter[State]] = field(default_factory=dict)
    retried: int = 0
    waited: int = 0
    dead_letters: int = 0
    again: frozenset[str] = frozenset()


def summary(facts: Facts) -> Summary:
    """The counts, from the records alone."""
    rows: dict[str, Counter[State]] = {}
    for done in facts.done:
        rows.setdefault(done.actor, Counter())[done.state] += 1
    return Summary(
        rows,
        retried=sum(done.attempt > 1 for done in facts.done),
        waited=sum(done.waits > 0 for done in facts.done),
        dead_letters=sum(done.letter is not None for done in facts.done),
        again=_again(facts),
    )


def mismatches(facts: Facts, plan: Plan) -> list[str]:
    """One sentence for each thing that is not as it has to be."""
    return [
        *_one_done_record_each(facts),
        *_ended_as_planned(facts),
        *_tables_agree(facts),
        *_no_element_over_capacity(facts, plan),
        *_interrupted_ran_again(facts),
        *([f"{facts.tasks_left} messages are left in the stream TASKS"] if facts.tasks_left else []),
    ]


def _again(facts: Facts) -> frozenset[str]:
    """The ids that ran on the killed worker and were ended by another."""
    return frozenset(done.id for done in facts.done if done.id in facts.interrupted and done.worker != facts.killed)


def _one_done_record_each(facts: Facts) -> Iterator[str]:
    counts = Counter(facts.done_ids)
    read = Counter(done.id for done in facts.done)
    for task_id, planned in facts.submitted.items():
        if counts[task_id] != 1 or read[task_id] != 1:
            yield f"task {task_id} {planned.label} has {counts[task_id]} done records, not 1"
    for task_id in counts.keys() - facts.submitted.keys():
        yield f"task {task_id} has a done record, but the service never submitted it"


def _ended_as_planned(facts: Facts) -> Iterator[str]:
    for done in facts.done:
        planned = facts.submitted.get(done.id)
        if planned is not None and planned.expected not in {None, done.state}:
            why = f" ({done.failure.type}: {done.failure.message})" if done.failure else ""
            yield f"task {done.id} {planned.label} ended {done.state}{why}, not {planned.expected}"


def _tables_agree(facts: Facts) -> Iterator[str]:
    """A task's row in SQLite and its done record say the same."""
    for done in facts.done:
        planned = facts.submitted.get(done.id)
        completed = done.state is State.COMPLETED
        if planned is None:
            continue
        if isinstance(planned.task, MyPilotTask):
            _, status = facts.pilots.get(done.id, ("", None))
            if completed != (status is Status.SUBMITTED):
                yield f"task {done.id} {planned.label} ended {done.state}, but its pilot is {status or 'missing'}"
        elif completed != (done.id in facts.syncs):
            yield f"task {done.id} {planned.label} ended {done.state}, but its row in owner_syncs says otherwise"
    for task_id in (facts.syncs | facts.pilots.keys()) - facts.submitted.keys():
        yield f"task {task_id} has a row in SQLite, but the service never submitted it"


def _no_element_over_capacity(facts: Facts, plan: Plan) -> Iterator[str]:
    active = Counter(name for name, status in facts.pilots.values() if status in ACTIVE)
    for element in plan.elements:
        if active[element.name] > element.capacity:
            yield f"element {element.name} holds {active[element.name]} pilots, more than its {element.capacity} slots"


def _interrupted_ran_again(facts: Facts) -> Iterator[str]:
    """What the killed worker had committed before it died needs no second run; the rest must have had one."""
    if facts.killed and not _again(facts):
        yield f"worker {facts.killed} was killed, but no task that it ran was ended by another worker"

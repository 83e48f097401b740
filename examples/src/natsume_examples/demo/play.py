"""The play itself: submit, kill a worker in the middle, wait for the end, compare."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from natsume.client import Client
from natsume.connecting import client_of
from natsume.testing import until
from natsume_examples.demo import records, verdict
from natsume_examples.demo.log import Log
from natsume_examples.demo.plan import Plan, Planned
from natsume_examples.demo.stage import CONCURRENCY, Stage, stop_workers
from natsume_examples.demo.watch import Watch

KILLED: Final = "A"
SURVIVOR: Final = "B"
_VICTIMS_MIN: Final = 3
_MIDDLE_S: Final = 10.0
_END_S: Final = 30.0
_FLUSH_S: Final = 0.5


@dataclass
class Story:
    """What happened, as far as the service itself knows it: its own list of ids, and whom it killed."""

    submitted: dict[str, Planned] = field(default_factory=dict)
    killed: str = ""
    interrupted: frozenset[str] = frozenset()


async def play(plan: Plan, stage: Stage, log: Log) -> Story:
    """Play the whole plan; returns when every task has ended and the workers have stopped."""
    story = Story()
    watch = Watch(stage.broker, log, story.submitted)
    log.line("server", f"a nats-server with an empty store at {stage.settings.nats_url}")
    await stage.start_workers(KILLED + SURVIVOR)
    watch.letters = {worker.name: worker.letter for worker in stage.workers}
    pids = " and ".join(f"{worker.letter} (pid {worker.process.pid})" for worker in stage.workers)
    log.line("workers", f"{pids}: natsume worker --size small --concurrency {CONCURRENCY}")
    async with _flushing(log):
        await _submit(plan, client_of(stage.broker, stage.settings), story)
        log.line("submitted", f"{len(story.submitted)} tasks; the service keeps their ids")
        await _kill_in_the_middle(stage, watch, story, log)
        await _until_all_ended(stage, watch, story)
    await stop_workers(stage)
    log.line("stopped", f"worker {SURVIVOR} (SIGTERM), with nothing left to do")
    return story


async def judge(plan: Plan, stage: Stage, story: Story, log: Log) -> int:
    """Compare the service's list with the records and the tables; 0 if they agree, else 1."""
    facts = await records.collect(stage.broker, story.submitted)
    left = await stage.tasks_left()
    facts = replace(facts, tasks_left=left, killed=story.killed, interrupted=story.interrupted)
    _tell(facts, log)
    wrong = verdict.mismatches(facts, plan)
    for sentence in wrong:
        log.line("mismatch", sentence)
    if not wrong:
        log.plain(f"Every one of the {len(facts.submitted)} ids has exactly one done record, and the tables agree.")
    return 1 if wrong else 0


async def _submit(plan: Plan, client: Client, story: Story) -> None:
    async def one(planned: Planned) -> None:
        token = await client.submit(planned.task, track=True)
        story.submitted[token] = planned

    await asyncio.gather(*(one(planned) for planned in plan.tasks))


async def _kill_in_the_middle(stage: Stage, watch: Watch, story: Story, log: Log) -> None:
    victim = next(worker for worker in stage.workers if worker.letter == KILLED)

    def progress() -> tuple[int, int]:
        return len(watch.ended), len(watch.running(victim.name))

    def is_middle(now: tuple[int, int]) -> bool:
        return now[0] >= len(story.submitted) // 3 and now[1] >= _VICTIMS_MIN

    await until(progress, is_middle, within_s=_MIDDLE_S, changed=watch.changed)
    victim.kill()
    story.killed, story.interrupted = victim.name, watch.running(victim.name)
    watch.interrupted = story.interrupted
    log.line("killed", f"worker {KILLED} (kill -9), which ran these {len(story.interrupted)} tasks:")
    for label in sorted(watch.label(task_id) for task_id in story.interrupted):
        log.more(label)


async def _until_all_ended(stage: Stage, watch: Watch, story: Story) -> None:
    survivor = next(worker for worker in stage.workers if worker.letter == SURVIVOR)

    def open_tasks() -> list[str]:
        survivor.check()
        return sorted(watch.label(task_id) for task_id in story.submitted.keys() - watch.ended)

    with suppress(AssertionError):  # the comparison tells which tasks did not end
        await until(open_tasks, lambda left: not left, within_s=_END_S, changed=watch.changed)
        await until(stage.tasks_left, lambda left: not left)


@asynccontextmanager
async def _flushing(log: Log) -> AsyncIterator[None]:
    """Tell completions at least twice a second."""

    async def flush() -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            log.flush()

    flushing = asyncio.create_task(flush())
    try:
        yield
    finally:
        flushing.cancel()


def _tell(facts: verdict.Facts, log: Log) -> None:
    told = verdict.summary(facts)
    states = sorted({state for counts in told.rows.values() for state in counts})
    log.plain()
    log.plain(f"{'What the records say':<32}" + "".join(f"{state:>12}" for state in states))
    for actor, counts in sorted(told.rows.items()):
        log.plain(f"  {actor:<30}" + "".join(f"{counts[state]:>12}" for state in states))
    log.plain()
    log.plain(f"  {told.retried:>4} tasks were tried more than once, {told.dead_letters} are kept as dead letters")
    log.plain(f"  {told.waited:>4} tasks waited for a lock that another task held")
    log.plain(f"  {len(told.again):>4} tasks ran again after worker {KILLED} was killed")
    log.plain()

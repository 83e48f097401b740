"""A task that blocks the event loop: its deliveries stay alive, the block is reported, an endless one ends."""

import asyncio
import re

from natsume.model.task import Reason, State
from natsume.testing import until

from .actors import Blocker, EndlessBlocker, Nap
from .installation import Installation, Wiretap

BLOCKED_EXIT = 70


async def test_a_block_of_twice_ack_wait_runs_once_and_loses_no_delivery(installation: Installation) -> None:
    """The second worker would run whatever the broker brought again."""
    tap = Wiretap(installation)
    first = await tap.watch(await installation.start_worker(10).ready())
    beside = await installation.client.submit_many([Nap(number, 0.5) for number in range(5)])
    await until(lambda: installation.journal.running(first.pid), lambda running: len(running) == 5)
    blocker = await installation.client.submit(Blocker(2 * installation.ack_wait_s))
    await until(lambda: blocker in installation.journal.running(first.pid))
    second = await installation.start_worker(10).ready()
    later = await installation.client.submit_many([Nap(number) for number in range(20)])

    records = await installation.all_done([blocker, *beside, *later])
    starts = installation.journal.starts()
    print(
        f"blocked for {2 * installation.ack_wait_s:g} s: the blocker started {starts[blocker]} time, "
        f"{len(beside)} beside it {sum(starts[task] for task in beside)} times; {len(later)} later ones all done"
    )
    assert [starts[task] for task in [blocker, *beside]] == [1] * 6
    assert {record.state for _, record in records.values()} == {State.COMPLETED}
    assert re.search(r"event loop is blocked since .*chaos_actors\.py.*time\.sleep", first.said())
    assert first.alive
    assert second.alive


async def test_an_endless_block_ends_its_process_and_counts_against_the_blocker_alone(
    installation: Installation,
) -> None:
    """With one crash allowed, the blocker is a dead letter at once, and no innocent has a crash to its name."""
    first = await installation.start_worker(10, NATSUME_MAX_CRASHES="1").ready()
    beside = await installation.client.submit_many([Nap(number, 2.0) for number in range(5)])
    await until(lambda: installation.journal.running(first.pid), lambda running: len(running) == 5)
    blocker = await installation.client.submit(EndlessBlocker(60.0))
    code = await first.ended()
    await installation.start_worker(10, NATSUME_MAX_CRASHES="1").ready()
    records = await installation.all_done([blocker, *beside])
    _, dead = records.pop(blocker)
    starts = installation.journal.starts()
    print(
        f"a loop blocked for good: exit {code}, the blocker started {starts[blocker]} time and is dead as "
        f"{dead.letter and dead.letter.reason}; {len(beside)} innocents completed"
    )
    assert code == BLOCKED_EXIT
    assert dead.letter is not None
    assert (dead.letter.reason, dead.crashes, starts[blocker]) == (Reason.CRASHED, 1, 1)
    assert {record.state for _, record in records.values()} == {State.COMPLETED}


async def test_innocents_that_carry_a_mark_are_not_charged_for_an_endless_block(installation: Installation) -> None:
    """They had been brought again, so their start was marked; the mark goes when their worker is ended."""
    environment = {"NATSUME_MAX_CRASHES": "1"}
    first = await installation.start_worker(10, **environment).ready()
    marked = await installation.client.submit_many([Nap(number, 4.0) for number in range(3)])
    await until(lambda: installation.journal.running(first.pid), lambda running: len(running) == 3)
    await first.kill()
    second = await installation.start_worker(10, **environment).ready()
    await until(lambda: installation.journal.running(second.pid), lambda running: len(running) == 3)
    blocker = await installation.client.submit(EndlessBlocker(60.0))
    code, _ = await asyncio.gather(second.ended(), asyncio.sleep(0))
    await installation.start_worker(10, **environment).ready()
    records = await installation.all_done([blocker, *marked])
    print(f"exit {code}; states of the marked innocents: {[str(records[task][1].state) for task in marked]}")
    assert {records[task][1].state for task in marked} == {State.COMPLETED}
    assert records[blocker][1].state is State.DROPPED

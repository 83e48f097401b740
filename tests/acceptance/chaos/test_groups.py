"""Groups under kills of everything: each callback once, after its last child; the long run is in `groups`."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.testing import until

from .group_account import starts_of
from .group_actors import KINDS
from .group_installation import MEMBERS, GroupInstallation
from .groups import storm
from .installation import Wiretap

GROUPS = 40
KILLS = 3
SEED = 20
ACK_WAIT_S = 2.0


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[GroupInstallation]:
    with EmbeddedServer() as server:
        installation = GroupInstallation(server, tmp_path, ACK_WAIT_S, SEED)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()


async def test_forty_groups_of_all_kinds_keep_their_promises_while_everything_is_killed(
    installation: GroupInstallation,
) -> None:
    report = await storm(installation, (list(KINDS) * GROUPS)[:GROUPS], SEED, KILLS)
    print(report)
    assert report.wrong == []
    assert report.callbacks + report.alarms == GROUPS
    assert all(count >= KILLS for count in report.kills.values())
    assert len(report.kills) == 4


async def test_where_only_the_broker_is_killed_nothing_runs_twice(installation: GroupInstallation) -> None:
    """Members of up to half a second, retries and callbacks: each attempt that was due has one start."""
    installation.keep_up()
    tap = Wiretap(installation)
    for worker in installation.workers:
        await tap.watch(await worker.ready())
    asking = asyncio.create_task(installation.ask_for(["plain", "plain", "flaky", "plain"] * (GROUPS // 4), 8, 0.5))
    in_flight: set[str] = set()
    running: set[str] = set()
    for kill in range(KILLS):
        enough = (kill + 1) * GROUPS * MEMBERS // (KILLS + 1)
        await until(installation.journal.started, lambda tasks: len(tasks) >= enough)  # noqa: B023 - awaited here
        await asyncio.to_thread(installation.server.kill)
        in_flight.update(*(tap.in_hand(worker) for worker in installation.workers))
        running.update(*(installation.journal.running(worker.pid) for worker in installation.workers))
        await asyncio.to_thread(installation.server.start)
    await asking
    await installation.all_finished(within_s=30.0)
    records = await installation.all_done({task for group in installation.asked for task in group.all})
    starts = Counter((line.task, line.attempt) for line in installation.journal.lines("start"))
    twice = {task for (task, _), count in starts.items() if count > 1}
    print(
        f"{KILLS} kills of the broker alone, {GROUPS} groups: {len(records)} done records, {sum(starts.values())} "
        f"starts; {len(in_flight)} tasks in flight at a kill ({len(running)} of them ran); {len(twice)} started twice: "
        f"{len(twice & running)} that ran, {len(twice & in_flight - running)} that were only buffered"
    )
    assert twice == set()
    assert len(records) == GROUPS * (MEMBERS + 2)
    assert all(process.alive for process in (*installation.workers, *installation.conductors))


async def test_a_conductor_that_was_stopped_and_goes_on_beside_another_repeats_nothing(
    installation: GroupInstallation,
) -> None:
    installation.keep_up()
    for process in (*installation.workers, *installation.conductors):
        await process.ready()
    stopped = installation.conductors[0]
    first = asyncio.create_task(installation.ask_for(["plain"] * 20, 20))
    await until(installation.finished)
    await stopped.freeze()
    await first
    await installation.all_finished(within_s=20.0)
    held = [
        group.number
        for group in installation.asked
        if starts_of(installation)[group.last][0].at
        > max(line.at for line in installation.journal.lines("end") if line.task in group.members) + ACK_WAIT_S / 2
    ]
    stopped.send(signal.SIGCONT)
    await installation.ask_for(["plain"] * 20, 20)
    await installation.all_finished(within_s=20.0)
    records = await installation.all_done({task for group in installation.asked for task in group.all})
    starts = starts_of(installation)
    twice = {task: lines for task, lines in starts.items() if len(lines) > 1}
    print(
        f"a conductor was stopped with {len(held)} groups in hand, and continued: {len(records)} done records, {twice=}"
    )
    assert twice == {}
    assert stopped.alive

"""A conductor killed or away: another goes on within seconds, or later than any TTL; everything follows once."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from nats.js.errors import NotFoundError

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.model.record import child_id
from natsume.testing import until

from .group_account import starts_of
from .group_actors import Callback, Parent, members_of
from .group_installation import MEMBERS, Asked, GroupInstallation

GROUPS = 20
WITHIN_S = 5.0
ACK_WAIT_S = 5.0


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[GroupInstallation]:
    with EmbeddedServer() as server:
        installation = GroupInstallation(server, tmp_path, ACK_WAIT_S)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()


async def test_what_a_killed_conductor_had_in_hand_follows_exactly_once(installation: GroupInstallation) -> None:
    installation.keep_up()
    for process in (*installation.workers, *installation.conductors):
        await process.ready()
    killed, _ = installation.conductors
    # Stopped, it takes its share of the records and does nothing with them.
    await killed.freeze()
    for number in range(GROUPS):
        parent = await installation.client.submit(Parent(number, "plain", [0.0] * MEMBERS))
        installation.asked.append(Asked(number, "plain", parent, child_id(parent, "join-0")))

    async def held() -> int:
        return int((await _consumer(installation))["num_ack_pending"])

    await until(held, lambda count: count >= GROUPS // 4)
    await killed.kill()
    await installation.all_finished(within_s=30.0)
    info = await until(lambda: _consumer(installation), lambda info: not info["num_ack_pending"])
    assert info["config"]["ack_wait"] <= WITHIN_S * 1e9
    assert "backoff" not in info["config"]
    assert await installation.all_done({task for group in installation.asked for task in group.all})
    starts = starts_of(installation)
    assert len(starts) == GROUPS * (MEMBERS + 2)
    assert {task: lines for task, lines in starts.items() if len(lines) != 1} == {}


async def test_a_conductor_that_was_away_for_longer_than_every_ttl_loses_nothing(
    installation: GroupInstallation,
) -> None:
    for worker in (installation.start_worker(), installation.start_worker()):
        await worker.ready()
    parents = [await _ask(installation, number) for number in range(GROUPS)]
    await until(installation.done_ids, lambda done: set(filter(None, parents)) <= done)
    expired = [await _let_ttls_pass(installation)]
    conductor = await installation.start_conductor().ready()
    await until(installation.journal.started, lambda started: len(started) >= GROUPS * MEMBERS // 3)
    await conductor.kill()
    await until(lambda: _undone(installation), lambda count: not count)
    between = await _not_known_as_called(installation)
    expired.append(await _let_ttls_pass(installation))
    await installation.start_conductor().ready()
    await installation.all_finished(within_s=60.0)
    await until(lambda: _undone(installation), lambda count: not count, within_s=4 * ACK_WAIT_S)
    starts = starts_of(installation)
    print(f"{expired} records had passed their TTL, {len(starts)} tasks ran")
    assert sum(expired)
    assert len(starts) == GROUPS * (MEMBERS + 1) + GROUPS // 2
    # What was sent, and not yet noted as sent when its conductor was killed, is sent again: a plain success is known
    # for an hour, and a copy that comes later is a new task.
    assert {task for task, lines in starts.items() if len(lines) != 1} <= between


async def _not_known_as_called(installation: GroupInstallation) -> set[str]:
    """The callbacks that have started, and of which their joins do not say that they have fired."""
    joins = await installation.broker.joins.read([group.join for group in installation.asked])
    fired = {join for join, (found, _) in joins.items() if found.fired}
    ran = starts_of(installation)
    return {group.callback for group in installation.asked if group.callback in ran and group.join not in fired}


async def _ask(installation: GroupInstallation, number: int) -> str | None:
    """Ask for a group, in turn from a task, which has a done record without any conductor, and from a service."""
    seconds = [0.02] * MEMBERS
    if number % 2:
        parent = await installation.client.submit(Parent(number, "plain", seconds))
        join = child_id(parent, "join-0")
    else:
        parent = None
        join = await installation.client.spawn_with_callback(members_of(number, "plain", seconds), Callback(number))
    installation.asked.append(Asked(number, "plain", parent or "", join))
    return parent


async def _undone(installation: GroupInstallation) -> int:
    info = await installation.broker.stream_info("TASKS", subjects_filter="task.>")
    return len(info["state"].get("subjects") or ())


async def _let_ttls_pass(installation: GroupInstallation) -> int:
    """Take from the broker what it keeps for a time only, as if that had passed: records with a TTL, message ids."""
    passed = 0
    async with await nats.connect(installation.server.url) as raw:
        stream = raw.jetstream()
        for number in range(1, (await stream.stream_info("RECORDS")).state.last_seq + 1):
            with suppress(NotFoundError):
                record = await stream.get_msg("RECORDS", number)
                if "Nats-TTL" in (record.headers or {}):
                    await stream.delete_msg("RECORDS", number)
                    passed += 1
    await installation.restart_broker()
    return passed


async def _consumer(installation: GroupInstallation) -> dict[str, Any]:
    answer = await installation.broker.request("$JS.API.CONSUMER.INFO.RECORDS.reactor", b"")
    return dict(msgspec.json.decode(answer))

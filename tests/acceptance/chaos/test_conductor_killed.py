"""`kill -9` of a conductor with records in its hands: another goes on within seconds, everything follows once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.model.record import child_id
from natsume.testing import until

from .group_account import starts_of
from .group_actors import Parent
from .group_installation import MEMBERS, Asked, GroupInstallation

GROUPS = 20
WITHIN_S = 5.0


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[GroupInstallation]:
    with EmbeddedServer() as server:
        installation = GroupInstallation(server, tmp_path, 30.0)
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


async def _consumer(installation: GroupInstallation) -> dict[str, Any]:
    answer = await installation.broker.request("$JS.API.CONSUMER.INFO.RECORDS.reactor", b"")
    return dict(msgspec.json.decode(answer))

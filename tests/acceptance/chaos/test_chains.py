"""Chains while workers and conductors are killed: each link is committed once, with the result of the one before."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natsume import chain
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.testing import until

from .group_actors import Link
from .group_installation import GroupInstallation

KILLS = 20
LINKS = 4


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[GroupInstallation]:
    with EmbeddedServer() as server:
        installation = GroupInstallation(server, tmp_path, 1.0)
        try:
            yield await installation.open()
        finally:
            await installation.close()
            server.kill()


async def test_twenty_kills_neither_lose_nor_double_a_link(installation: GroupInstallation) -> None:
    await installation.witness()
    client, lasts = installation.client, []
    for kill in range(KILLS):
        installation.keep_up()
        crew = installation.live_conductors() if kill % 3 == 0 else installation.live_workers()
        for process in crew:
            await process.ready()
        lasts += [await client.spawn(chain(*(Link(number, 0.05) for number in range(LINKS)))) for _ in range(5)]
        started = len(installation.journal.started())
        await until(lambda: len(installation.journal.started()) > started)  # noqa: B023 - awaited here
        await crew[kill // 3 % len(crew)].kill()
    installation.keep_up()
    for last in lasts:
        assert await client.result(last, 60.0) == list(range(LINKS))
    counts = await installation.witnessed(len(lasts) * (LINKS + 1))
    again = sum(count > 1 for count in installation.journal.starts().values())
    print(f"{KILLS} kills, {len(lasts)} chains of {LINKS}: {sum(counts.values())} commits, {again} links started again")
    assert len(counts) == len(lasts) * (LINKS + 1)
    assert set(counts.values()) == {1}
    assert installation.gave_up() == []

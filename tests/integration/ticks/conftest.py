"""A broker with schedules, a reconciler on demand, and the done records of ticks."""

import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from natsume.actors.registry import Registry
from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.compose.conductor import reconciler_of
from natsume.exceptions import BrokerError
from natsume.model.record import Done
from natsume.model.tick import ScheduleKey
from natsume.settings import Settings

from . import actors


@pytest.fixture
def natsume_server(tmp_path: Path):
    """A broker that keeps its store when it is stopped."""
    with EmbeddedServer(store_dir=tmp_path / "store") as server:
        yield server
        server.kill()


@pytest.fixture
def natsume_settings(natsume_server, tmp_path):
    return Settings(nats_url=natsume_server.url, data_dir=tmp_path, ack_wait_s=2.0, grace_s=0.2)


@pytest.fixture
def natsume_registry():
    return actors.ALL


@pytest.fixture
def reconciler(natsume_broker, natsume_settings):
    """A reconciler for some of the actors, as a conductor that starts now has it."""

    def make(*names: str, **settings: object):
        registry = Registry.of_classes({name: actors.ALL[name] for name in names})
        return reconciler_of(natsume_broker, msgspec.structs.replace(natsume_settings, **settings), registry)

    return make


@pytest.fixture
async def ticks(natsume_broker):
    """The done records of a schedule's ticks, by due time; those that ran, or all."""
    reader = DirectReader(natsume_broker.wire, "RECORDS")

    async def read(key: ScheduleKey, *, skipped: bool = False) -> dict[float, Done]:
        found = {}
        try:
            records = await reader.last(["record.done.*.*"])
        except BrokerError as error:
            raise AssertionError(str(error)) from None  # not yet
        for stored in records:
            done = msgspec.json.decode(stored.body, type=Done)
            due = re.fullmatch(rf"{re.escape(key.id)}-(\d+T\d+Z)", done.id)
            if due and skipped == (done.failure is not None and done.failure.type == "Skipped"):
                found[datetime.strptime(due[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()] = done
        return dict(sorted(found.items()))

    yield read
    reader.close()


def gaps(due: dict[float, Done]) -> list[float]:
    """The time between neighbours."""
    times = sorted(due)
    return [later - earlier for earlier, later in pairwise(times)]

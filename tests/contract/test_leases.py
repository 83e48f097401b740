"""The port Leases: a lock has one holder, ends by itself, and its token only grows."""

import asyncio
import time

import msgspec
import pytest

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.exceptions import BrokerError
from natsume.model.lock import Blocked, Holding, Want
from natsume.ports import Lease, Leases
from natsume.testing import leases as held_keys
from natsume.testing import until


@pytest.fixture
def leases(broker: Broker) -> Leases:
    return broker.leases


async def asked(leases: Leases, holder: str, ttl_s: float = 30.0, key: str = "JOB.1") -> Lease | Blocked:
    return await leases.acquire(Want(key, f"name of {key}", ttl_s=ttl_s), Holding(holder, f"task-of-{holder}", 0.0))


async def taken(leases: Leases, holder: str, ttl_s: float = 30.0, key: str = "JOB.1") -> Lease:
    lease = await asked(leases, holder, ttl_s, key)
    assert isinstance(lease, Lease), lease
    return lease


async def test_a_lock_has_one_holder_who_is_told_to_others(leases: Leases) -> None:
    lease = await taken(leases, "one")
    refused = await asked(leases, "two")
    assert isinstance(refused, Blocked)
    assert (refused.task, refused.holder, refused.since) == ("task-of-one", "one", lease.holding.since)
    assert refused.ends_at is not None
    assert refused.ends_at == pytest.approx(lease.holding.since + 30, abs=5)
    assert refused.first
    await taken(leases, "two", key="JOB.2")


async def test_of_many_at_once_exactly_one_gets_it(leases: Leases) -> None:
    got = await asyncio.gather(*(asked(leases, f"h{number}", 30.0) for number in range(50)))
    assert sum(isinstance(one, Lease) for one in got) == 1


async def test_who_has_it_may_take_it_again(leases: Leases) -> None:
    first = await taken(leases, "one")
    again = await taken(leases, "one")
    assert again.revision > first.revision


async def test_what_cannot_be_released_while_the_broker_is_away_is_when_it_is_back(
    leases: Leases, broker: Broker, natsume_server: EmbeddedServer
) -> None:
    lease = await taken(leases, "one", ttl_s=600.0)
    other = await taken(leases, "one", ttl_s=600.0, key="JOB.2")
    await asyncio.to_thread(natsume_server.kill)
    with pytest.raises(BrokerError):
        await leases.release(lease)
    natsume_server.start()
    await until(lambda: broker.wire.is_connected)
    await until(lambda: held_keys(broker), lambda found: found == [other.key])


async def test_what_is_released_late_is_not_what_the_same_run_has_taken_since(leases: Leases, broker: Broker) -> None:
    first = await taken(leases, "one", ttl_s=600.0)
    again = await taken(leases, "one", ttl_s=600.0)
    await leases.release(first)
    assert await leases.renew(again)
    assert await held_keys(broker) == [again.key]


async def test_a_released_lock_is_free_and_listed_no_more(leases: Leases, broker: Broker) -> None:
    lease = await taken(leases, "one")
    assert await held_keys(broker) == ["JOB.1.0"]
    await leases.release(lease)
    assert await held_keys(broker) == []
    await taken(leases, "two")


async def test_a_lock_ends_by_itself_and_is_lost_to_its_holder(leases: Leases) -> None:
    lease = await taken(leases, "one", 1.0)
    began = time.monotonic()
    assert lease.until <= began + 1.0
    got = await until(lambda: asked(leases, "two", 1.0), lambda one: isinstance(one, Lease))
    assert time.monotonic() >= lease.until - 0.05
    assert isinstance(got, Lease)
    assert got.token > lease.token
    assert not await leases.renew(lease)


async def test_a_renewed_lock_outlives_its_first_ttl_and_still_ends(leases: Leases) -> None:
    lease = await taken(leases, "one", 1.0)
    token = lease.token
    ends = time.monotonic() + 2.5
    while time.monotonic() < ends:
        assert await leases.renew(lease)
        assert isinstance(await asked(leases, "two", 1.0), Blocked)
        await asyncio.sleep(0.3)
    assert lease.token == token
    await until(lambda: asked(leases, "two", 1.0), lambda one: isinstance(one, Lease))


async def test_a_late_release_does_not_end_the_lock_of_another(leases: Leases) -> None:
    lost = await taken(leases, "one", 1.0)
    await until(lambda: asked(leases, "two", 30.0), lambda one: isinstance(one, Lease))
    await leases.release(lost)
    assert isinstance(await asked(leases, "three", 1.0), Blocked)


async def test_a_release_with_an_older_revision_still_gives_the_holders_lock_back(leases: Leases) -> None:
    """A renewal may be on its way when the task ends."""
    lease = await taken(leases, "one")
    before = msgspec.structs.replace(lease)
    assert await leases.renew(lease)
    await leases.release(before)
    await taken(leases, "two")


async def test_tokens_only_grow_from_holder_to_holder(leases: Leases) -> None:
    tokens = []
    for number in range(5):
        lease = await taken(leases, f"h{number}")
        tokens.append(lease.token)
        await leases.release(lease)
    assert tokens == sorted(set(tokens))


async def test_what_is_released_late_is_no_lease_of_another_broker(leases: Leases, broker: Broker) -> None:
    lease = await taken(leases, "one", ttl_s=600.0)
    await broker.leases._delete(lease.revision)
    other = await taken(leases, "two", ttl_s=600.0, key="JOB.2")
    lease.revision = other.revision  # as it would be in a broker that began anew
    await broker.leases._give_back_late(lease)
    assert await held_keys(broker) == [other.key]

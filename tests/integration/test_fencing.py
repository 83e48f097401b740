"""A fenced write: no earlier holder writes after a later one, and tokens grow also over a lost broker."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import BigInteger, Column, MetaData, String, Table, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.leases import TOKENS_PER_EPOCH
from natsume.exceptions import BrokerError, Fenced
from natsume.fencing import fenced_write
from natsume.model import limits
from natsume.model.lock import Holding, Want
from natsume.ports import Lease

stock = Table(
    "stock", MetaData(), Column("item", String), Column("left_over", BigInteger), Column("fence", BigInteger, default=0)
)


@pytest.fixture
async def connection() -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(stock.metadata.create_all)
        await connection.execute(insert(stock).values(item="pen", left_over=5))
        yield connection
    await engine.dispose()


async def test_a_lower_token_writes_nothing_and_the_same_one_again(connection: AsyncConnection) -> None:
    take = update(stock).where(stock.c.item == "pen").values(left_over=stock.c.left_over - 1)
    assert await fenced_write(connection, take, stock.c.fence, 7) == 1
    assert await fenced_write(connection, take, stock.c.fence, 7) == 1
    with pytest.raises(Fenced, match="no row of stock was written under the token 6: a later holder"):
        await fenced_write(connection, take, stock.c.fence, 6)
    assert (await connection.execute(select(stock))).one() == ("pen", 3, 7)


async def token(broker: Broker) -> int:
    lease = await broker.leases.acquire(Want("JOB.1", "job 1"), Holding("h", "t", 0.0))
    assert isinstance(lease, Lease)
    await broker.leases.release(lease)
    return lease.token


async def test_tokens_grow_over_a_lost_broker_by_the_epoch(natsume_broker: Broker) -> None:
    publish = natsume_broker.publisher.publish
    for _ in range(5):
        before = await token(natsume_broker)
    await publish(b"$KV.config.epoch", b"", b"1")
    await natsume_broker.refresh()
    after = await token(natsume_broker)
    assert before < TOKENS_PER_EPOCH < after < 2 * TOKENS_PER_EPOCH
    await publish(b"$KV.config.epoch", b"", b"%d" % limits.EPOCH_MAX)
    await natsume_broker.refresh()
    assert after < await token(natsume_broker) < 2**63


@pytest.mark.parametrize("wrong", [b"-1", b"x", b"4194305", b"9" * 5000, b"\xff"])
async def test_an_epoch_that_is_none_is_refused(natsume_broker: Broker, wrong: bytes) -> None:
    await natsume_broker.publisher.publish(b"$KV.config.epoch", b"", wrong)
    with pytest.raises(BrokerError, match="the key epoch in the bucket config is"):
        await natsume_broker.refresh()

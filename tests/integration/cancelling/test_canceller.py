"""A flag for descendants goes only when the ledger can know no other of them."""

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.client import Client
from natsume.connecting import cancelling_of
from natsume.exceptions import LedgerError
from natsume.model.told import Flag
from natsume.runtime.canceller import Canceller
from natsume.testing import task_done

from .actors import Quick
from .facts import is_cancelled


class Behind:
    """A ledger that is told by the test what it knows and how far it is."""

    def __init__(self) -> None:
        self.known: list[tuple[str, str]] = []
        self.stored, self.followed = 100, 99
        self.away = False

    async def unfinished(self, parents):
        if self.away:
            raise LedgerError("the database is away")
        yield [pair for pair in self.known if pair[1] in parents]

    async def end(self) -> int:
        return self.stored

    async def settled(self) -> int:
        return self.followed


@pytest.fixture
def ledger() -> Behind:
    return Behind()


@pytest.fixture
def canceller(natsume_broker: Broker, ledger: Behind) -> Canceller:
    return Canceller(natsume_broker.flags, cancelling_of(natsume_broker, "w"), ledger, ledger)


async def test_it_waits_for_the_ledger_and_then_for_no_later_record(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object, ledger: Behind, canceller: Canceller
) -> None:
    parent = await natsume_client.submit(Quick(), track=True)
    await task_done(natsume_client, parent)
    await natsume_broker.flags.put(Flag(parent, "anna", natsume_broker.now(), cascade=True))
    await canceller.once()
    assert await natsume_broker.flags.read([parent])

    late = await natsume_client.submit(Quick("late"), delay=3600.0)
    ledger.known, ledger.followed, ledger.stored, ledger.away = [(late, parent)], 100, 200, True
    await canceller.once()
    assert await natsume_broker.flags.read([parent]), "the ledger did not say"

    ledger.away = False
    await canceller.once()
    assert not await natsume_broker.flags.read([parent])
    is_cancelled(await task_done(natsume_client, late))


async def test_a_flag_that_is_for_no_descendants_goes_at_once(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object, ledger: Behind, canceller: Canceller
) -> None:
    token = await natsume_client.submit(Quick(), track=True)
    await task_done(natsume_client, token)
    await natsume_broker.flags.put(Flag(token, "anna", natsume_broker.now()))
    ledger.away = True
    await canceller.once()
    assert not await natsume_broker.flags.read([token])

"""A flag for descendants goes only when the ledger can know no other of them."""

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.flags import KvFlags
from natsume.adapters.nats.joins import KvJoins
from natsume.adapters.nats.records import StreamRecords
from natsume.client import Client
from natsume.compose.conductor import conducting
from natsume.connecting import cancelling_of
from natsume.core.join import JoinState
from natsume.exceptions import LedgerError
from natsume.model.task import State
from natsume.model.told import Flag
from natsume.runtime.canceller import Canceller
from natsume.settings import Settings
from natsume.testing import task_done, until

from .actors import RAN, Crowd, Quick
from .facts import ANNA, is_cancelled, no_flag


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


class Died(Exception):
    pass


STEPS = {
    "flag of the parent": (KvFlags, "put", 1),
    "join": (KvJoins, "update", 1),
    "end of the callback": (StreamRecords, "commit", 1),
    "flag of a member": (KvFlags, "put", 2),
    "end of that member": (StreamRecords, "commit", 2),
}


@pytest.mark.parametrize("after", STEPS)
async def test_a_conductor_goes_on_after_any_step(
    natsume_client: Client,
    natsume_settings: Settings,
    natsume_broker: Broker,
    natsume_worker: object,
    often: None,
    monkeypatch: pytest.MonkeyPatch,
    after: str,
) -> None:
    """Who cancels with cascade dies once this is stored."""
    registry = natsume_client.registry
    async with conducting(natsume_settings, registry):
        parent = await task_done(natsume_client, await natsume_client.submit(Crowd(), track=True))
        member, callback = parent.children[0].id, parent.groups[0].callback.id
        await until(lambda: natsume_broker.waiting.hops([member]))
    port, method, left = STEPS[after]
    real = getattr(port, method)

    async def die(*arguments, **options):
        nonlocal left
        answer = await real(*arguments, **options)
        left -= 1
        if not left:
            raise Died
        return answer

    with monkeypatch.context() as dying:
        dying.setattr(port, method, die)
        with pytest.raises(Died):
            await natsume_client.cancel(parent.id, cascade=True, as_user=ANNA)
    async with conducting(natsume_settings, registry):
        is_cancelled(await task_done(natsume_client, callback))
        assert (await task_done(natsume_client, member)).state is State.CANCELLED
        await until(lambda: RAN.count("alarm") == 1)
        await no_flag(natsume_broker, parent.id)
    (join, _) = (await natsume_broker.joins.read([parent.groups[0].join]))[parent.groups[0].join]
    assert (join.state, "callback" in RAN) == (JoinState.CANCELLED, False)


async def test_a_flag_that_is_for_no_descendants_goes_at_once(
    natsume_client: Client, natsume_broker: Broker, natsume_worker: object, ledger: Behind, canceller: Canceller
) -> None:
    token = await natsume_client.submit(Quick(), track=True)
    await task_done(natsume_client, token)
    await natsume_broker.flags.put(Flag(token, "anna", natsume_broker.now()))
    ledger.away = True
    await canceller.once()
    assert not await natsume_broker.flags.read([token])

"""A worker answers whether its run goes on, and notes what outlives the broker; nobody answers for the dead."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from natsume import BaseTask
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.direct import DirectReader
from natsume.model.subject import RECORDS
from natsume.testing import until

WORKER = "0123456789ab"


@dataclass
class Block(BaseTask):
    """Blocks the loop, and learns meanwhile that the broker has started anew."""

    learn: ClassVar[Callable[[], None]]

    async def execute(self) -> None:
        type(self).learn()
        time.sleep(1.0)


@pytest.fixture
def natsume_registry():
    return {"app:Block": Block}


async def test_who_is_there_answers_and_who_is_gone_does_not(natsume_broker: Broker, natsume_settings) -> None:
    answering = await Broker.connect(natsume_settings)
    answering.presence.answer(WORKER, {f"{WORKER}-1"}.__contains__)
    await answering.wire.flush()
    assert await natsume_broker.presence.goes_on(f"{WORKER}-1") is True
    assert await natsume_broker.presence.goes_on(f"{WORKER}-2") is False
    await answering.close()

    async def answer() -> bool | None:
        return await natsume_broker.presence.goes_on(f"{WORKER}-1")

    await until(answer, lambda goes_on: goes_on is None)


@pytest.mark.parametrize("nonce", ["n", "me-", "*-1", ">-1", "a b-1", "a\r\nPUB x 0-1", f"{'a' * 500}-1"])
async def test_what_is_no_runs_nonce_is_nobodys(natsume_broker: Broker, nonce: str) -> None:
    assert await natsume_broker.presence.goes_on(nonce) is False


async def test_a_blocked_loop_does_not_keep_what_it_runs_from_being_noted(
    natsume_broker: Broker, natsume_worker, natsume_client
) -> None:
    """The loop writes the done record as soon as it is free: what was noted before that, the thread has noted."""
    Block.learn = natsume_worker.watch.broker_restarted
    token = await natsume_client.submit(Block())
    await natsume_client.result(token)
    reader = DirectReader(natsume_broker.wire, RECORDS)
    noted, done = await reader.last([f"record.started.*.{token}", f"record.done.*.{token}"])
    reader.close()
    assert noted.subject.startswith("record.started.")
    assert noted.sequence < done.sequence

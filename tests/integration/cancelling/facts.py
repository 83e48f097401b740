"""What is looked at where tasks are cancelled."""

from natsume import Who
from natsume.adapters.nats.broker import Broker
from natsume.model.record import Done
from natsume.model.task import State
from natsume.testing import until

ANNA = Who("anna", operator=True)


async def no_flag(broker: Broker, token: str) -> None:
    await until(lambda: broker.flags.read([token]), lambda flags: not flags)


def is_cancelled(done: Done, why: str = "") -> None:
    assert done.state is State.CANCELLED
    assert done.failure is not None
    assert done.failure.message == "cancelled by anna" + (f": {why}" if why else "")
    assert (done.flagged, done.kind) == (True, "effects")

"""A real broker for each test, and values to put through the ports."""

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.model.record import Done, Failed, Failure, Started
from natsume.model.task import State
from natsume.settings import Settings


@pytest.fixture
def natsume_settings(natsume_server: EmbeddedServer) -> Settings:
    return Settings(nats_url=natsume_server.url, ack_wait_s=1.0)


@pytest.fixture
def broker(natsume_broker: Broker) -> Broker:
    return natsume_broker


def done(task: str, nonce: str = "run-1", state: State = State.COMPLETED, **more: object) -> Done:
    return Done(
        id=task, actor="g:A", state=state, nonce=nonce, worker="w", attempt=1, started_at=1.0, finished_at=2.0, **more
    )


def failed(task: str, attempt: int = 1, message: str = "no", next_at: float = 5.0) -> Failed:
    return Failed(task, "g:A", attempt, Failure("E", message), "w", 1.0, 2.0, next_at, attempt)


def started(task: str, attempt: int = 1, nonce: str = "run-1", crashes: int = 0) -> Started:
    return Started(task, "g:A", attempt, "w", 1.0, nonce, crashes)

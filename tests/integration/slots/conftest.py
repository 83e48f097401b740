"""A worker of each size, with the actors that run in slots."""

import pytest

from natsume.base_task import BaseTask

from . import actors


@pytest.fixture
def natsume_registry() -> dict[str, type[BaseTask]]:
    return actors.ALL

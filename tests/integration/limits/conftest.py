"""The actors of this folder, and nothing of an earlier test."""

import pytest

from .actors import ACTORS, Seen


@pytest.fixture
def natsume_registry():
    Seen.forget()
    return ACTORS

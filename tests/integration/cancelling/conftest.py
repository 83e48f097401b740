"""Actors in the test's own event loop, which it lets go when it will."""

from collections.abc import Iterator

import pytest

from natsume.model import times

from . import actors


@pytest.fixture(autouse=True)
def ran() -> Iterator[list[str]]:
    actors.RAN.clear()
    actors.GO.clear()
    yield actors.RAN
    actors.GO.set()


@pytest.fixture
def natsume_registry() -> dict[str, type]:
    return actors.ACTORS


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conductors look at the flags often."""
    monkeypatch.setattr(times, "FLAGS_S", 0.05)

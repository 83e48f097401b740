"""Garbage of every kind ends as dead letters with reason and body; the worker goes on."""

from .fuzz import fuzz
from .installation import Installation

MESSAGES = 6_000
SEED = 20261121


async def test_every_stored_message_is_completed_or_a_dead_letter(installation: Installation) -> None:
    report = await fuzz(installation, MESSAGES, SEED)
    print(report)
    assert report.wrong == []
    assert report.stored == report.completed + sum(report.dead.values()) + report.repeats
    assert report.stored + report.refused == MESSAGES

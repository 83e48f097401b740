"""A duty in rounds goes on where broker or ledger were away, and ends with whatever else goes wrong."""

import logging

import pytest

from natsume.exceptions import BrokerError, LedgerError
from natsume.runtime.rounds import rounds


async def test_what_is_away_is_told_and_tried_again_and_all_else_is_raised(caplog):
    coming = [BrokerError("gone"), None, LedgerError("locked"), ZeroDivisionError(), None]

    async def once():
        if (error := coming.pop(0)) is not None:
            raise error

    caplog.set_level(logging.INFO)
    with pytest.raises(ZeroDivisionError):
        await rounds(once, 0, "it waits: %s", logging.WARNING)
    assert coming == [None]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "it waits: gone"),
        ("WARNING", "it waits: locked"),
    ]

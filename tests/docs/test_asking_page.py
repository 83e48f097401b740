"""What the how-to on asking shows runs as it says."""

import re
from pathlib import Path

import pytest

from natsume import Who
from natsume.actors.registry import Registry
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.core.rights import Act, By, Widened, may
from natsume.exceptions import LedgerError, UnknownTask
from natsume.model.ledger import Filter
from natsume.model.task import State
from natsume.testing import until

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "ask-what-became-of-a-task.md").read_text()


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = re.findall(r"^\| (.*) \|$", PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0], re.MULTILINE)
    return [line.split(" | ") for line in lines[1:] if not set(line) <= set("-|")]


async def listed(client):
    try:
        return await client.ledger.find()
    except LedgerError as error:  # the conductor makes it just now
        raise AssertionError(str(error)) from None


async def test_the_reports_are_told_to_those_who_may_know(natsume_broker, natsume_settings):
    names: dict[str, object] = {"__name__": "page"}
    (code,) = re.findall(r"```python\n# \S+\.py\n(.*?)```", PAGE, re.DOTALL)
    exec(code, names)  # our own page
    registry = Registry.of_classes({"reports:WriteReport": names["WriteReport"]})
    async with conducting(natsume_settings, registry), connect(settings=natsume_settings, registry=registry) as client:
        token = await names["order"](client, 5, "ada")
        await until(lambda: listed(client), lambda page: page.tasks)
        assert await names["open_reports"](client, "ada") == [token]
        assert await names["open_reports"](client, "bob") == []
        async with working(natsume_settings, registry):
            assert await names["for_the_office"](client, token) == "report-5.pdf"
        assert [await names["tell"](client, token, user) for user in ("ada", "bob")] == [
            "COMPLETED",
            "there is no such report",
        ]
        with pytest.raises(UnknownTask):
            await client.result(token, as_user="bob")


def test_the_table_of_rights_is_the_one_that_holds():
    owner, tenant = Who("ada"), Who("eve", ("lhcb",))
    acts = {"see, list, comment": (Act.SEE, Act.COMMENT), "cancel": (Act.CANCEL,), "replay, discard": (Act.REPLAY,)}
    for names, *cells in rows("Whose question it is"):
        for act in acts[names]:
            for who, cell in zip((owner, tenant), cells, strict=False):
                for by in By:
                    widened = Widened(by, by)
                    assert may(who, act, "ada", "lhcb", widened) == (cell == "yes" or f'"{by}"' in cell)


def test_all_fields_and_states_are_named():
    named = {name for cells in rows("Filters") for name in re.findall(r"`(\w+)`", cells[0])}
    for moment in ("started", "finished", "heartbeat"):
        if moment in named:
            named = named - {moment} | {f"{moment}_after", f"{moment}_before"}
    assert named == set(Filter.__struct_fields__)
    assert {name for cells in rows("From a service") for name in re.findall(r"`([A-Z]+)`", cells[0])} == {*State}

"""The code of the pilots' tutorial stands, word for word, in the files that it names; the example's suite runs it."""

import re
from pathlib import Path

import pytest

from natsume.actors.registry import Registry
from natsume.config.agenda import agenda
from natsume.config.tasks_check import misfits
from natsume.config.tasks_file import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial" / "pilots.md").read_text()
BLOCKS = re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)


def test_every_block_names_its_file():
    assert len(BLOCKS) == len(re.findall(r"```(?:python|toml)\n", PAGE))
    assert len(BLOCKS) >= 10


@pytest.mark.parametrize(("name", "code"), BLOCKS)
def test_a_block_is_the_text_of_its_file(name, code):
    assert code in (ROOT / name).read_text()


def test_the_tasks_file_fits_the_actors():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config, registry = parse(text.encode(), "tasks.yaml"), Registry.load()
    assert list(misfits(config, registry)) == []
    found = agenda(registry, config, (), 0.0)
    texts = {key.name: one.entry.text for key, one in found.wanted.items() if key.actor.startswith("pilots:")}
    assert texts == {
        "pilots:MyCheckPilotsTask/default/dteam": '{"every":30}',
        "pilots:MyCheckPilotsTask/default/lhcb": '{"every":30}',
        "pilots:MyPilotReportTask/default": '{"cron":"0 * * * *"}',
        "pilots:MySubmitPilotsTask/default/dteam": '{"every":300}',
        "pilots:MySubmitPilotsTask/default/lhcb": '{"every":60}',
    }

"""The page on periodic tasks says what the code does: its classes tick, its tasks file and its commands are right."""

import re
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from natsume import CatchUp, Overlap
from natsume.actors.registry import Registry
from natsume.cli import schedules
from natsume.config.agenda import agenda
from natsume.config.tasks_check import misfits
from natsume.config.tasks_file import parse
from natsume.model.config import TasksConfig
from natsume.model.tick import ScheduleKey

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "run-tasks-periodically.md").read_text()


@pytest.fixture
def registry(monkeypatch):
    classes = {}
    for name, code in re.findall(r"```python\n# (\S+)\.py\n(.*?)```", PAGE, re.DOTALL):
        module = type(sys)(name.replace("/", "_of_the_page_"))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(code, vars(module))
        own = {key: value for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
        classes |= {f"clock:{key}": value for key, value in own.items()}
    return Registry.of_classes(classes)


def test_the_classes_tick(registry):
    wanted = agenda(registry, TasksConfig(vos=("lhcb",)), (), 0.0).wanted
    assert {key.name for key in wanted} == {
        "clock:Harvest/default",
        "clock:RotateLogs/default",
        "clock:SendReport/default/lhcb",
    }
    harvest = registry.find("clock:Harvest").periodic
    assert (harvest.catch_up, harvest.overlap, harvest.jitter_s) == (CatchUp.ALL, Overlap.SKIP, 10.0)


def test_the_tasks_file_fits_them(registry):
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = parse(text.encode(), "tasks.yaml")
    assert not list(misfits(config, registry))
    found = agenda(registry, config, ("clock:H*",), 0.0)
    assert not found.problems
    assert set(found.wanted) == {
        ScheduleKey("clock:RotateLogs", "nightly"),
        ScheduleKey("clock:SendReport", "default", "lhcb"),
    }


def test_the_commands_are_there():
    named = set(re.findall(r"natsume schedules (\w+)", PAGE))
    assert named == set(get_command(schedules.app).commands)

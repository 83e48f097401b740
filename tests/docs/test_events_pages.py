"""What the how-tos on events, configuration and unique tasks show runs as they say."""

import re
from pathlib import Path

import pytest

from natsume.actors.registry import Registry
from natsume.adapters.nats.events import ActorEvents
from natsume.compose.conductor import conducting
from natsume.compose.worker import working
from natsume.config.tasks_file import TasksFileError, parse
from natsume.connecting import connect
from natsume.core.dispatch import task_id
from natsume.settings import Settings
from natsume.testing import until

HOWTO = Path(__file__).parents[2] / "docs" / "howto"


def actors_of(page: str, group: str) -> dict[str, type]:
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n# \S+\.py\n(.*?)```", (HOWTO / page).read_text(), re.DOTALL):
        exec(code, names)  # our own page
    names |= {"__name__": "page"}
    return {f"{group}:{name}": cls for name, cls in names.items() if getattr(cls, "__dataclass_fields__", None)} | {
        "": names
    }


async def test_the_jobs_are_greeted_and_mourned(natsume_server, natsume_broker, tmp_path):
    classes = actors_of("react-to-events.md", "jobs")
    names = classes.pop("")
    registry = Registry.of_classes(classes)
    settings = Settings(nats_url=natsume_server.url, data_dir=tmp_path, ack_wait_s=2.0, grace_s=2.0)
    async with (
        working(settings, registry),
        conducting(settings, registry),
        connect(settings=settings, registry=registry) as client,
    ):
        looker = ActorEvents(natsume_broker.wire, natsume_broker.publisher, natsume_broker.request)
        await until(lambda: looker._info("jobs:GreetJob"), lambda found: found and found["num_waiting"])
        looker.close()
        event = await names["submit_job"](client, 7)
        assert await client.result(task_id("job.submitted", event, "jobs:GreetJob")) == "job 7 is here"
        event = await client.publish("job.7.failed", {"why": "disk"})
        assert await client.result(task_id("job.7.failed", event, "jobs:MournJob")) == "job 7 failed: disk"


async def test_the_report_is_built_once(natsume_server, natsume_broker):
    classes = actors_of("submit-once.md", "reports")
    names = classes.pop("")
    registry = Registry.of_classes(classes)
    (code,) = re.findall(r"```python\n(first = .*?)```", (HOWTO / "submit-once.md").read_text(), re.DOTALL)
    body = "async def run(client):\n" + "".join(f"    {line}\n" for line in code.splitlines()) + "    return first\n"
    exec(body, names)
    async with connect(natsume_server.url, registry=registry) as client:
        token = await names["run"](client)
        assert (await client.status(token)).actor == "reports:BuildReport"


def test_the_tasks_file_is_right():
    page = (HOWTO / "configure-tasks.md").read_text()
    (file,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    config = parse(file.encode(), "tasks.yaml")
    schedules = config.for_task("pilots:MySubmitPilotsTask", "gridpp.ac.uk").schedules
    assert (schedules["default"].every, schedules["nightly"].enabled) == (300, False)
    wrong = file.replace("max_retries", "max_retris")
    with pytest.raises(TasksFileError) as caught:
        parse(wrong.encode(), "tasks.yaml")
    assert f"natsume: {caught.value.sentences[0]}\n" in page

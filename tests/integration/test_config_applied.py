"""A tasks file on a running system: applied by the command, taken up by workers, kept over a restart."""

import asyncio
import time
from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask, ExponentialBackoff, IntervalSeconds, PeriodicBaseTask
from natsume.actors.registry import Registry
from natsume.adapters.nats.broker import Broker
from natsume.cli.main import main
from natsume.compose.conductor import reconciler_of
from natsume.config.tasks_file import parse
from natsume.exceptions import BrokerError
from natsume.model.config import Applied, TasksConfig
from natsume.model.subject import kv
from natsume.model.task import State
from natsume.testing import task_done, until


@dataclass
class Flaky(BaseTask):
    retry_policy = ExponentialBackoff(base_delay_seconds=3600, max_retries=1)

    async def execute(self):
        raise ValueError("not today")


@dataclass
class Slow(BaseTask):
    async def execute(self):
        await asyncio.Event().wait()


@dataclass
class Hourly(PeriodicBaseTask):
    default_schedule = IntervalSeconds(3600)

    async def execute(self):
        pass


@pytest.fixture
def natsume_registry():
    return {"t:Flaky": Flaky, "t:Slow": Slow}


def configured(text: str) -> Applied:
    return Applied(parse(text.encode(), "tasks.yaml"), "test", time.time(), text)


async def test_a_worker_takes_it_up_while_it_runs(natsume_broker, natsume_client, natsume_worker):
    config = natsume_broker.config
    revision = await config.put(configured("common: {t:Flaky: {retries: {max_retries: 0}}}"), 0)

    async def ended_at_once():
        token = await natsume_client.submit(Flaky(), track=True)
        await until(lambda: natsume_client.status(token), lambda status: status.failures or status.done)
        return (await natsume_client.status(token)).done

    done = await until(ended_at_once)
    assert done.state is State.FAILED
    await config.put(configured("common: {t:Slow: {limits: {timeout_s: 0.1}}}"), revision)
    done = await until(lambda: timed_out(natsume_client))
    assert "its timeout_s of 0.1 s" in done.failure.message


async def timed_out(client):
    token = await client.submit(Slow())
    try:
        return await task_done(client, token, within_s=0.5)
    except AssertionError:
        return None


async def test_of_two_who_apply_at_once_one_is_refused(natsume_broker):
    config = natsume_broker.config
    first = await config.put(configured("vos: [a]"), 0)
    assert await config.put(configured("vos: [b]"), 0) is None
    assert await config.put(configured("vos: [c]"), first) > first
    assert (await config.read())[0].config == TasksConfig(("c",))


async def test_a_watch_sees_what_was_applied_while_it_was_away(natsume_server, natsume_settings, natsume_broker):
    seen = []
    watching = await Broker.connect(natsume_settings)
    await watching.config.watch(seen.append)
    assert seen == [None]
    await natsume_broker.config.put(configured("vos: [a]"), 0)
    await until(lambda: len(seen) == 2)
    natsume_server.kill()
    natsume_server.start()
    revision = (await until(lambda: read(natsume_broker)))[1]
    await until(lambda: put(natsume_broker, revision))
    await until(lambda: len(seen) == 3)
    assert [one and one.config.vos for one in seen] == [None, ("a",), ("b",)]
    await watching.close()


NEWER = b'{"config":{"vos":["n"],"moons":[]},"who":"later","at":1.0,"hash":"h"}'


async def test_what_a_newer_version_applied_leaves_the_last_known_in_force(natsume_broker, natsume_settings, caplog):
    seen = []
    watching = await Broker.connect(natsume_settings)
    await natsume_broker.config.put(configured("vos: [a]"), 0)
    await watching.config.watch(seen.append)
    revision = await natsume_broker.publisher.publish(kv("config", "tasks").encode(), b"", NEWER)
    await until(lambda: "what held before goes on to hold" in caplog.text)
    await natsume_broker.config.put(configured("vos: [b]"), revision)
    await until(lambda: len(seen) == 2)
    assert [one.config.vos for one in seen] == [("a",), ("b",)]
    assert caplog.text.count("cannot be read by this version") == 1
    await watching.close()


async def test_who_starts_with_what_it_cannot_read_says_so_and_goes_on(
    natsume_client, natsume_broker, natsume_registry, natsume_settings, natsume_start_worker, caplog
):
    await natsume_broker.publisher.publish(kv("config", "tasks").encode(), b"", NEWER)
    await natsume_start_worker()
    (line,) = [one for one in caplog.messages if "cannot be read" in one]
    assert "moons" in line
    assert line.endswith("until one is applied that can, the classes' own values hold")
    token = await natsume_client.submit(Flaky(), track=True)
    status = await until(lambda: natsume_client.status(token), lambda status: status.failures or status.done)
    assert len(status.failures) == 1, "the class's own retry policy"


async def test_a_conductor_that_cannot_read_it_leaves_the_schedules_alone(natsume_broker, natsume_settings):
    registry = Registry.of_classes({"t:Hourly": Hourly})
    first = reconciler_of(natsume_broker, natsume_settings, registry)
    first.configure(configured("common: {t:Hourly: {schedules: {second: {every: 7200}}}}"))
    await first.once()
    assert len(await natsume_broker.schedules.present()) == 2
    await natsume_broker.publisher.publish(kv("config", "tasks").encode(), b"", NEWER)
    later = reconciler_of(natsume_broker, natsume_settings, registry)
    await natsume_broker.config.watch(later.configure)
    assert await later.once() == []
    assert len(await natsume_broker.schedules.present()) == 2


async def read(broker):
    try:
        return await broker.config.read()
    except BrokerError:
        return None


async def put(broker, revision):
    return await broker.config.put(configured("vos: [b]"), revision)


async def test_the_commands(natsume_server, natsume_broker, tmp_path, capsys):
    async def run(*arguments):
        code = await asyncio.to_thread(main, ["config", *map(str, arguments), "--nats-url", natsume_server.url])
        said = capsys.readouterr()
        assert len(said.err.splitlines()) <= 3
        return code, said.out + said.err

    file = tmp_path / "tasks.yaml"
    assert await run("show") == (1, "natsume: no tasks file is applied; run `natsume config apply FILE`\n")
    file.write_text("common: {t:Flaky: {retries: {max_retris: 3}}}")
    for command in ("check", "apply"):
        code, said = await run(command, file)
        assert (code, "common.t:Flaky.retries.max_retris is no key; did you mean max_retries" in said) == (1, True)
    file.write_text("vos: [lhcb]\ncommon: {t:Flaky: {retries: {max_retries: 3}}}")
    code, said = await run("apply", file)
    assert (code, "common.t:Flaky is no task that is installed here" in said) == (1, True)
    assert (await natsume_broker.config.read())[0] is None
    assert await run("check", "--any-actor", file) == (0, "tasks.yaml is right: 1 task, 1 VO\n")
    assert await run("apply", "--any-actor", file) == (0, "tasks.yaml is applied: 1 task, 1 VO\n")
    assert await run("apply", "--any-actor", file) == (0, "tasks.yaml was applied before; nothing to change\n")
    code, said = await run("show", "--json")
    shown = msgspec.json.decode(said)
    assert shown["config"] == {"vos": ["lhcb"], "common": {"t:Flaky": {"retries": {"max_retries": 3}}}}
    assert (code, "@" in shown["who"], abs(shown["at"] - time.time()) < 60) == (0, True, True)
    revision = (await natsume_broker.config.read())[1]
    code, said = await run("show")
    assert (code, said.startswith("# applied by "), "max_retries: 3" in said) == (0, True, True)
    await natsume_broker.publisher.publish(kv("config", "tasks").encode(), b"", NEWER)
    for arguments in (("show",), ("apply", "--any-actor", file)):
        code, said = await run(*arguments)
        assert (code, "use the one that applied it" in said) == (1, True)
    assert (await natsume_broker.config.read())[1] == revision + 1

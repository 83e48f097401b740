"""Events and the actors that take them: each pair one task, over bare publishes, kills and lost consumers."""

import asyncio
import contextlib
from dataclasses import dataclass

import nats
import pytest

from natsume import BaseTask, Event, TaskInfo
from natsume.actors.registry import Registry
from natsume.adapters.nats.events import ActorEvents
from natsume.compose.conductor import conducting
from natsume.core import dispatch
from natsume.core.dispatch import task_id
from natsume.model.task import Reason, State
from natsume.ports import Subscription
from natsume.testing import task_done, until

RAN: list[tuple[str, object]] = []


@dataclass
class Greet(BaseTask):
    events = ("job.submitted",)
    job_id: int

    async def execute(self, info: TaskInfo):
        RAN.append(("Greet", self.job_id))
        return {"job": self.job_id, "event": info.labels["event"]}


@dataclass
class Mourn(BaseTask):
    events = ("job.*.failed", "job.*.late")
    events_from = "beginning"
    why: str

    @classmethod
    def from_event(cls, event: Event):
        return None if event.data.get("minor") else cls(event.data["why"])

    async def execute(self):
        RAN.append(("Mourn", self.why))


ACTORS = {"t:Greet": Greet, "shop.eu:Mourn": Mourn}


@pytest.fixture
def natsume_registry():
    return Registry.of_classes(ACTORS)


@pytest.fixture(autouse=True)
def _nothing_ran():
    RAN.clear()


@pytest.fixture
async def conductor(natsume_broker, natsume_settings, natsume_registry):
    async with conducting(natsume_settings, natsume_registry):
        await subscribed(natsume_broker, *ACTORS)
        yield


async def subscribed(broker, *actors):
    """Each has its consumer, and someone waits on it."""
    looker = ActorEvents(broker.wire, broker.publisher, broker.request)
    for actor in actors:
        await until(lambda actor=actor: looker._info(actor), lambda found: found and found["num_waiting"])
    looker.close()


def of(event_type, event_id, actor):
    return task_id(event_type, event_id, actor)


async def test_an_event_is_one_task_of_each_actor(natsume_client, natsume_worker, conductor):
    event = await natsume_client.publish("job.submitted", {"job_id": 7, "by": "ada"})
    done = await task_done(natsume_client, of("job.submitted", event, "t:Greet"))
    assert (done.state, bytes(done.result)) == (State.COMPLETED, b'{"job":7,"event":"job.submitted"}')
    assert await natsume_client.publish("job.submitted", {"job_id": 7}, id=event) == event
    event = await natsume_client.publish("job.submitted", {"job_id": 8})
    await task_done(natsume_client, of("job.submitted", event, "t:Greet"))
    assert RAN == [("Greet", 7), ("Greet", 8)]


async def test_a_bare_publish_is_an_event(natsume_server, natsume_worker, conductor):
    connection = await nats.connect(natsume_server.url)
    await connection.publish("event.job.submitted", b'{"job_id": 7}')
    await connection.publish("event.job.submitted", b'{"job_id": 7}')
    await until(lambda: RAN == [("Greet", 7)] * 2)
    await connection.close()


async def test_from_event_may_decline(natsume_client, natsume_worker, conductor):
    await natsume_client.publish("job.1.failed", {"minor": True})
    await natsume_client.publish("job.7.late", {"why": "late"})
    await natsume_client.publish("job.7.failed", {"why": "disk"})
    await until(lambda: sorted(RAN) == [("Mourn", "disk"), ("Mourn", "late")])


@pytest.mark.parametrize(
    ("data", "reason"), [({"job": 7}, Reason.INVALID_ARGUMENTS), ([], Reason.UNPARSABLE)], ids=["wrong", "list"]
)
async def test_what_does_not_fit_is_a_dead_letter(natsume_client, natsume_worker, conductor, data, reason):
    event = await natsume_client.publish("job.submitted", data)
    done = await task_done(natsume_client, of("job.submitted", event, "t:Greet"))
    assert (done.state, done.letter.reason, done.actor) == (State.FAILED, reason, "t:Greet")
    assert done.failure.message.startswith("event job.submitted: ")
    assert done.letter.subject == "task.normal.small.t.Greet"


async def test_a_new_actor_starts_where_it_says(natsume_broker, natsume_client, natsume_worker, request):
    await natsume_client.publish("job.submitted", {"job_id": 1})
    await natsume_client.publish("job.1.failed", {"why": "first"})
    request.getfixturevalue("natsume_settings")
    settings, registry = request.getfixturevalue("natsume_settings"), Registry.of_classes(ACTORS)
    async with conducting(settings, registry):
        await subscribed(natsume_broker, *ACTORS)
        await natsume_client.publish("job.submitted", {"job_id": 2})
        await until(lambda: len(RAN) == 2)
    assert sorted(RAN) == [("Greet", 2), ("Mourn", "first")]


async def test_a_consumer_made_anew_goes_on_where_it_was(
    natsume_broker, natsume_client, natsume_worker, natsume_settings, natsume_registry, monkeypatch
):
    monkeypatch.setattr("natsume.runtime.dispatcher._KEEP_S", 0.05)
    async with conducting(natsume_settings, natsume_registry):
        await subscribed(natsume_broker, *ACTORS)
        for number in range(10):
            await natsume_client.publish("job.submitted", {"job_id": number})
        await until(lambda: len(RAN) == 10)
        await natsume_broker.request("$JS.API.CONSUMER.DELETE.EVENTS.t=3AGreet", b"")
        await natsume_client.publish("job.submitted", {"job_id": 10})
        await until(lambda: ("Greet", 10) in RAN)
        await natsume_client.publish("job.submitted", {"job_id": 11})
        await until(lambda: ("Greet", 11) in RAN)
    assert RAN == [("Greet", number) for number in range(12)]


async def test_a_consumer_lost_before_its_position_was_kept_repeats_nothing(
    natsume_broker, natsume_client, natsume_worker, natsume_settings, natsume_registry
):
    async with conducting(natsume_settings, natsume_registry):
        await subscribed(natsume_broker, *ACTORS)
        events = [await natsume_client.publish("job.submitted", {"job_id": number}) for number in range(10)]
        for event in events:
            await task_done(natsume_client, of("job.submitted", event, "t:Greet"))
    await natsume_broker.request("$JS.API.CONSUMER.DELETE.EVENTS.t=3AGreet", b"")
    async with conducting(natsume_settings, natsume_registry):
        await subscribed(natsume_broker, *ACTORS)
        event = await natsume_client.publish("job.submitted", {"job_id": 10})
        await task_done(natsume_client, of("job.submitted", event, "t:Greet"))
        looker = ActorEvents(natsume_broker.wire, natsume_broker.publisher, natsume_broker.request)
        await until(lambda: looker._info("t:Greet"), lambda found: found["ack_floor"]["stream_seq"] == 11)
        looker.close()
        lanes = await natsume_broker.stream_info("TASKS")
        await until(lambda: natsume_broker.stream_info("TASKS"), lambda info: info["state"]["messages"] == 0)
    assert RAN == [("Greet", number) for number in range(11)]
    assert lanes["state"]["last_seq"] >= 11


async def test_what_a_consumer_made_anew_brings_again_is_suspect(natsume_broker, natsume_client):
    wanted = [Subscription("t:Greet", ("job.submitted",), "beginning")]
    suspect = []
    for number in range(3):
        await natsume_client.publish("job.submitted", {"job_id": number})
        feed = ActorEvents(natsume_broker.wire, natsume_broker.publisher, natsume_broker.request)
        await feed.keep(wanted)
        delivery = (await feed.batch(1))[0]
        feed.acknowledge(delivery)
        suspect.append((delivery.sequence, delivery.suspect_to))
        feed.close()
        await natsume_broker.request("$JS.API.CONSUMER.DELETE.EVENTS.t=3AGreet", b"")
    assert suspect == [(1, 1), (1, 2), (1, 3)]


async def test_what_is_wrong_with_one_actor_keeps_no_other_from_its_events(
    natsume_broker, natsume_client, natsume_worker, natsume_settings, natsume_registry
):
    await natsume_broker.publisher.publish(b"$KV.config.events.shop=2Eeu=3AMourn", b"", b"{")
    async with conducting(natsume_settings, natsume_registry):
        await subscribed(natsume_broker, "t:Greet")
        await natsume_client.publish("job.submitted", {"job_id": 7})
        await until(lambda: RAN == [("Greet", 7)])


async def test_an_event_that_breaks_the_dispatcher_holds_up_no_other(
    natsume_client, natsume_worker, conductor, monkeypatch
):
    task_of = dispatch.task_of

    def broken(event, *args, **kwargs):
        if b"13" in event.body:
            raise RuntimeError("a bug")
        return task_of(event, *args, **kwargs)

    monkeypatch.setattr(dispatch, "task_of", broken)
    for number in range(10, 16):
        await natsume_client.publish("job.submitted", {"job_id": number})
    await until(lambda: sorted(RAN) == [("Greet", number) for number in (10, 11, 12, 14, 15)])


async def test_a_type_may_hold_what_a_subject_may(natsume_server, natsume_worker, conductor):
    connection = await nats.connect(natsume_server.url)
    await connection.publish("event.job.\u00fc.failed", b'{"why": "umlaut"}')
    await until(lambda: RAN == [("Mourn", "umlaut")])
    await connection.close()


async def test_two_conductors_and_a_killed_broker_leave_each_pair_one_task(
    natsume_server, natsume_client, natsume_worker, natsume_settings, natsume_registry, conductor
):
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(conducting(natsume_settings, natsume_registry))
        half = asyncio.Event()

        async def publish(numbers):
            for number in numbers:
                await natsume_client.publish("job.submitted", {"job_id": number}, id=f"job-{number}")
                if number == 100:
                    half.set()

        publishing = asyncio.create_task(publish(range(200)))
        await half.wait()
        natsume_server.kill()
        natsume_server.start()
        await publishing
        await publish(range(0, 200, 10))
        for number in range(200):
            token = of("job.submitted", f"job-{number}", "t:Greet")
            done = await task_done(natsume_client, token)
            assert bytes(done.result).startswith(b'{"job":%d,' % number)


async def test_an_unknown_actors_consumer_is_left_alone(natsume_broker, natsume_client, natsume_settings, conductor):
    looker = ActorEvents(natsume_broker.wire, natsume_broker.publisher, natsume_broker.request)
    async with conducting(natsume_settings, Registry.of_classes({"t:Greet": Greet})):
        await natsume_client.publish("job.1.failed", {"why": "x"})
        found = await until(lambda: looker._info("shop.eu:Mourn"), lambda found: found["ack_floor"]["stream_seq"] == 1)
    looker.close()
    assert found["config"]["filter_subjects"] == ["event.job.*.failed", "event.job.*.late"]

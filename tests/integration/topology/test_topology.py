"""What `apply`, `diff` and `ensure` do to a real server."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from natsume.adapters.nats import topology
from natsume.adapters.nats.request import Request
from natsume.core.topology_diff import Change, Difference
from natsume.exceptions import BrokerError, UsageError
from natsume.model import limits, subject, times

ENTITIES = 3 + 6 + 12
NS = 1_000_000_000


async def api(request: Request, name: str, body: object = None) -> dict:
    answer = json.loads(await request(f"$JS.API.{name}", b"" if body is None else json.dumps(body).encode()))
    assert "error" not in answer
    return answer


async def lane_info(request: Request, lane: subject.Lane) -> dict:
    return await api(request, f"CONSUMER.INFO.TASKS.{lane.consumer}")


@pytest.fixture
def own_files(tmp_path: Path) -> Path:
    """A copy of the definitions that a test may change."""
    return Path(shutil.copytree(topology.files(), tmp_path / "nats"))


def rewrite(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


async def test_apply_creates_everything_once(request_api: Request) -> None:
    first = await topology.apply(request_api)
    assert {change.action for change in first} == {"created"}
    assert len(first) == ENTITIES
    assert await topology.diff(request_api) == []
    assert await topology.apply(request_api) == []


async def test_files_agree_with_the_vocabulary() -> None:
    consumers = {e.name: e for e in topology.load() if e.kind == "consumer"}
    streams = {e.name: e.config for e in topology.load() if e.kind == "stream"}
    for lane in subject.LANES:
        assert consumers[lane.consumer].config["filter_subject"] == lane.filter
        assert consumers[lane.consumer].stream == subject.TASKS
        assert lane.filter in streams[subject.TASKS]["subjects"]
    assert consumers["reactor"].stream == subject.RECORDS
    assert streams[subject.TASKS]["max_msg_size"] == limits.TASK_MESSAGE_MAX
    assert streams[subject.TASKS]["duplicate_window"] == times.DUPLICATE_WINDOW_S * NS
    assert streams[subject.RECORDS]["max_msg_size"] >= limits.RECORD_MAX


async def test_diff_names_field_there_and_here(request_api: Request, own_files: Path) -> None:
    await topology.apply(request_api)
    rewrite(own_files / "streams/EVENTS.json", max_age=3600 * NS)
    (own_files / "buckets/more.json").write_text('{"name": "KV_more", "subjects": ["$KV.more.>"], "num_replicas": 1}')
    assert await topology.diff(request_api, root=own_files) == [
        Difference("EVENTS", "max_age", 7 * 86_400 * NS, 3600 * NS),
        Difference("KV_more", "", None, "KV_more"),
    ]


async def test_configured_ack_wait_wins_over_the_file(request_api: Request) -> None:
    await topology.apply(request_api)
    changes = await topology.apply(request_api, ack_wait_s=2.5)
    assert len(changes) == 9  # the lanes
    assert Change("TASKS/normal-small", "updated", ("ack_wait",)) in changes
    info = await api(request_api, "CONSUMER.INFO.TASKS.normal-small")
    assert info["config"]["ack_wait"] == 2_500_000_000
    assert info["config"]["max_waiting"] == 4096
    assert await topology.apply(request_api, ack_wait_s=2.5) == []


async def test_fields_that_no_file_names_stay(request_api: Request) -> None:
    await topology.apply(request_api)
    config = (await api(request_api, "STREAM.INFO.EVENTS"))["config"]
    operators = {
        "max_age": 3600 * NS,
        "max_bytes": 10_000_000,
        "metadata": config["metadata"] | {"owner": "alice"},
    }
    await api(request_api, "STREAM.UPDATE.EVENTS", config | operators)
    [change] = await topology.apply(request_api)
    assert (change.entity, sorted(change.fields)) == ("EVENTS", ["max_age", "max_bytes"])
    assert (await api(request_api, "STREAM.INFO.EVENTS"))["config"]["metadata"]["owner"] == "alice"


@pytest.mark.parametrize(
    ("file", "field", "value", "way_out"),
    [
        ("streams/TASKS.json", "retention", "limits", "nats stream backup TASKS"),
        ("streams/RECORDS.json", "storage", "memory", "nats stream backup RECORDS"),
        ("consumers/normal-small.json", "max_waiting", 17, "nats consumer rm TASKS normal-small"),
        ("consumers/reactor.json", "deliver_policy", "new", "nats consumer rm RECORDS reactor"),
    ],
)
async def test_an_immutable_change_is_refused_before_any_other(
    request_api: Request, own_files: Path, file: str, field: str, value: object, way_out: str
) -> None:
    await topology.apply(request_api)
    rewrite(own_files / file, **{field: value})
    rewrite(own_files / "streams/EVENTS.json", max_age=3600 * NS)
    with pytest.raises(BrokerError, match=field) as refused:
        await topology.apply(request_api, root=own_files)
    assert way_out in str(refused.value)
    assert "\n" not in str(refused.value)
    assert await topology.diff(request_api) == []


async def test_what_the_server_refuses_is_one_sentence_with_its_code(request_api: Request) -> None:
    with pytest.raises(BrokerError, match=r"TASKS|EVENTS|KV_") as refused:
        await topology.apply(request_api, replicas=3)
    assert refused.value.code == 10074


async def test_replicas_stay_unless_asked_for(request_api: Request, own_files: Path) -> None:
    await topology.apply(request_api)
    rewrite(own_files / "streams/TASKS.json", num_replicas=3)
    assert await topology.diff(request_api, root=own_files) == []
    assert Difference("TASKS", "num_replicas", 1, 3) in await topology.diff(request_api, replicas=3)


async def test_several_processes_apply_at_once(six_requests: list[Request]) -> None:
    await asyncio.gather(*(topology.apply(request, ack_wait_s=7) for request in six_requests))
    assert await topology.diff(six_requests[0], ack_wait_s=7) == []


@pytest.mark.parametrize("there", [True, False])
async def test_several_processes_that_disagree_end_without_an_error(six_requests: list[Request], there: bool) -> None:
    if there:
        await topology.apply(six_requests[0])
    await asyncio.gather(*(topology.apply(r, ack_wait_s=5 + i % 2) for i, r in enumerate(six_requests)))
    waits = {(await lane_info(six_requests[0], lane))["config"]["ack_wait"] for lane in subject.LANES}
    assert waits <= {5 * NS, 6 * NS}
    await topology.apply(six_requests[0], ack_wait_s=9)
    assert await topology.diff(six_requests[0], ack_wait_s=9) == []


async def test_several_processes_ensure_while_one_applies(six_requests: list[Request]) -> None:
    applied, *others = six_requests
    await asyncio.gather(topology.apply(applied, ack_wait_s=9), *(topology.ensure(r) for r in others))
    assert await topology.diff(applied, ack_wait_s=9) == []


async def test_ensure_creates_what_is_missing_and_updates_nothing(request_api: Request) -> None:
    await topology.ensure(request_api, ack_wait_s=4)
    await api(request_api, "STREAM.DELETE.EVENTS")
    await topology.ensure(request_api)
    assert {d.field for d in await topology.diff(request_api)} == {"ack_wait"}


async def test_a_task_published_before_any_worker_waits_for_it(connection: Client, request_api: Request) -> None:
    await topology.ensure(request_api)
    await connection.jetstream().publish("task.normal.small.owners.SyncOwnersTask", b"{}")
    rows = {row["entity"]: row for row in await topology.show(request_api)}
    assert rows["TASKS"]["messages"] == 1
    assert rows["TASKS/normal-small"]["pending"] == 1
    assert rows["TASKS/normal-large"]["pending"] == 0


async def test_a_lane_that_does_not_exist_takes_nothing(connection: Client, request_api: Request) -> None:
    await topology.ensure(request_api)
    with pytest.raises(NoRespondersError):
        await connection.request("task.urgent.small.x.Y", b"{}", timeout=5)


async def test_an_expected_rate_that_does_not_fit_is_refused(request_api: Request) -> None:
    with pytest.raises(BrokerError, match=r"5000 MB .* budget of 2048 MB"):
        await topology.apply(request_api, expected_per_hour=10_000_000)
    assert len(await topology.diff(request_api)) == ENTITIES
    await topology.apply(request_api, expected_per_hour=10_000_000, memory_budget_mb=5000)
    assert await topology.diff(request_api) == []


async def test_definitions_that_are_missing_or_broken_are_named(tmp_path: Path, own_files: Path) -> None:
    with pytest.raises(UsageError, match="no definition"):
        topology.load(tmp_path / "nowhere")
    (own_files / "streams/TASKS.json").write_text("{")
    with pytest.raises(UsageError, match=r"TASKS\.json"):
        topology.load(own_files)


async def test_an_account_without_jetstream_is_said_in_one_sentence() -> None:
    async def silent(subject: str, payload: bytes) -> bytes:
        return b""

    with pytest.raises(BrokerError, match="is JetStream enabled"):
        await topology.ensure(silent)

"""What a service gets wrong in a call is told in one sentence, and nothing was sent."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from natsume import BaseTask
from natsume.binding import bind
from natsume.exceptions import UnknownTask, UsageError
from natsume.model.ledger import Filter


@dataclass
class Task(BaseTask):
    number: int = 1

    async def execute(self) -> None: ...


@pytest.fixture
def natsume_registry():
    return {"t:Task": Task}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"at": "2026"}, "`at` is a datetime with a time zone"),
        ({"at": datetime(2026, 11, 21)}, "needs a time zone"),  # noqa: DTZ001 - that is what is refused
        ({"delay": "5"}, "a number of seconds or a timedelta, not '5'"),
        ({"delay": float("nan")}, "a delay of nan s cannot be"),
        ({"owner": 5}, "t:Task: owner=5 cannot be"),
        ({"owner": ""}, "t:Task: owner='' cannot be"),
        ({"owner": "a\nb"}, "t:Task: owner must be printable"),
        ({"tenant": b"lhcb"}, "t:Task: tenant=b'lhcb' cannot be"),
        ({"id": 5}, "5 cannot be a task's id"),
        ({"on_duplicate": "zz"}, "on_duplicate='zz' cannot be"),
        ({"unique": 5}, "unique=5 cannot be"),
        ({"labels": 5}, "labels are at most"),
    ],
)
async def test_a_submission_that_cannot_be(natsume_client, natsume_broker, given, said):
    with pytest.raises(UsageError, match=r"^[^\n]+$") as caught:
        await natsume_client.submit(Task(), **given)
    assert said in str(caught.value)
    assert (await natsume_broker.stream_info("TASKS"))["state"]["messages"] == 0


@pytest.mark.parametrize("given", [{"owner": ""}, {"owner": 5}, {"tenant": "a\r\nNatsume-Owner: b"}])
async def test_a_group_of_nobody(natsume_client, natsume_broker, given):
    for sending in (
        natsume_client.submit_many([Task()], **given),
        natsume_client.spawn_with_callback([Task()], Task(2), **given),
    ):
        with pytest.raises(UsageError):
            await sending
    for stream in ("TASKS", "RECORDS"):
        assert (await natsume_broker.stream_info(stream))["state"]["messages"] == 0


@pytest.mark.parametrize("token", [None, 5, "", "a.b", b"x"])
async def test_what_is_no_token_is_a_task_that_nobody_knows(natsume_client, token):
    for asked in (
        natsume_client.status(token),
        natsume_client.result(token),
        natsume_client.cancel(token),
        natsume_client.comment(token, "why"),
        natsume_client.letters.replay(token),
    ):
        with pytest.raises(UnknownTask):
            await asked


async def test_other_calls_that_cannot_be(natsume_client):
    for wrong in (
        natsume_client.status("x", as_user=5),
        natsume_client.publish(5, {}),
        natsume_client.publish("a.b", {}, id=5),
        natsume_client.ledger.find(Filter(), count=0),
    ):
        with pytest.raises(UsageError):
            await wrong
    with bind(natsume_client):
        for at in ("2026", datetime(2026, 11, 21)):  # noqa: DTZ001 - that is what is refused
            with pytest.raises(UsageError, match="at_time is a datetime with a time zone"):
                await Task().schedule(at)
        assert await Task().schedule(datetime(2026, 11, 21, tzinfo=UTC))

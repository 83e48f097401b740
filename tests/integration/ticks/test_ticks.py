"""Ticks live in the server: they come with no process of ours but a worker, each once, on their grid."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from natsume.actors.registry import Registry
from natsume.compose.conductor import conducting
from natsume.config.tasks_file import parse
from natsume.core.reconcile import Put, Remove
from natsume.core.tick import identified
from natsume.model.codec import decode
from natsume.model.config import Applied, TasksConfig
from natsume.model.subject import ready
from natsume.model.tick import Mark, ScheduleKey
from natsume.model.times import TICK_LATE_S
from natsume.testing import task_done, until

from . import actors
from .conftest import gaps

BEAT = ScheduleKey("t:Beat")


def names(actions):
    return [(type(one), (one.entry if isinstance(one, Put) else one.present.entry).key.name) for one in actions]


def applied(text: str, at: float = 0.0) -> Applied:
    return Applied(parse(text.encode(), "tasks.yaml") if text else TasksConfig(), "test", at, text)


async def test_ticks_come_without_a_conductor(reconciler, natsume_worker, ticks, natsume_broker):
    await reconciler("t:Beat", "t:Odd", "t:Rule", "t:Disabled").once()
    ran = await until(lambda: ticks(BEAT), lambda found: len(found) >= 3)
    assert set(gaps(ran)) == {1.0}
    assert all(done.started_at >= due for due, done in ran.items())
    rule = await until(lambda: ticks(ScheduleKey("t:Rule")), lambda found: len(found) >= 2)
    assert set(gaps(rule)) == {2.0}
    odd = await until(lambda: ticks(ScheduleKey("t:Odd")))
    last = max(odd)
    assert last % 7 == 0
    lying = {one.entry.key: one.entry.due for one in await natsume_broker.schedules.present()}
    assert lying[ScheduleKey("t:Odd")].timestamp() == last + 7
    assert not await ticks(ScheduleKey("t:Disabled"))


async def test_a_doubled_tick_is_one_task(reconciler, natsume_worker, ticks, natsume_broker):
    await reconciler("t:Beat").once()
    first = await until(lambda: ticks(BEAT))
    due, done = next(iter(first.items()))
    head = f"Nats-Scheduler: {BEAT.subject()}\r\nNatsume-Schedule: {actors.EVERY_SECOND.text}\r\n"
    following = datetime.fromtimestamp(due + 1, UTC).isoformat()
    copy = (head + f"Nats-Schedule-Next: {following}\r\n").encode()
    lane = Registry.of_classes(actors.ALL).find("t:Beat").lane
    # The server lets no one else set its headers: the copy is read as the server would send it.
    envelope = decode(lane, "t:Beat", "derived", b"NATS/1.0\r\n" + copy + b"\r\n", b"{}")
    task = identified(envelope.task, b"NATS/1.0\r\n" + copy + b"\r\n")
    assert task.id == done.id
    await natsume_broker.outgoing.submit(task, resent=True)
    await until(lambda: ticks(BEAT), lambda found: len(found) >= 3)
    assert (await ticks(BEAT))[due] == done
    info = await natsume_broker.stream_info("TASKS", subjects_filter=ready(lane, "t:Beat"))
    assert sum((info["state"].get("subjects") or {}).values()) <= 1


async def test_changes_are_found_and_nothing_else_is_done(reconciler, natsume_broker):
    conductor = reconciler("t:Beat", "t:PerVo", "t:Plain")
    assert names(await conductor.once()) == [(Put, "t:Beat/default")]
    assert await conductor.once() == []
    assert await reconciler("t:Beat").once() == []
    beat, plain = "{schedules: {default: {every: 5}}}", "{schedules: {x: {every: 3, args: {text: hi}}}}"
    conductor.configure(applied(f"vos: [a.b, c]\ncommon: {{t:Beat: {beat}, t:Plain: {plain}}}"))
    assert names(await conductor.once()) == [
        (Put, "t:Beat/default"),
        (Put, "t:PerVo/default/a.b"),
        (Put, "t:PerVo/default/c"),
        (Put, "t:Plain/x"),
    ]
    conductor.configure(applied("vos: [c]\ncommon: {t:Beat: {enabled: false}}"))
    assert names(await conductor.once()) == [
        (Remove, "t:Beat/default"),
        (Remove, "t:PerVo/default/a.b"),
        (Remove, "t:Plain/x"),
    ]
    assert await conductor.once() == []


async def test_each_vo_has_its_ticks(reconciler, natsume_worker, ticks):
    conductor = reconciler("t:PerVo")
    conductor.configure(applied("vos: [lhcb.org, _]"))
    await conductor.once()
    for vo in ("lhcb.org", "_"):
        done = await until(lambda vo=vo: ticks(ScheduleKey("t:PerVo", vo=vo)))
        first = next(iter(done.values()))
        assert (bytes(first.result), first.tenant) == (f'"{vo}"'.encode(), vo)


async def test_a_vo_ticks_task_is_the_vos_and_so_are_its_children(
    reconciler, natsume_worker, natsume_broker, natsume_client, natsume_settings, natsume_registry, ticks
):
    async with conducting(natsume_settings, Registry.of_classes({"t:Plain": actors.Plain})):
        conductor = reconciler("t:PerVoRule")
        conductor.configure(applied("vos: [lhcb.org, dteam]"))
        await conductor.once()
        for vo in ("lhcb.org", "dteam"):
            key = ScheduleKey("t:PerVoRule", vo=vo)
            done = next(iter((await until(lambda key=key: ticks(key))).values()))
            result_vo, task_tenant, child = msgspec.json.decode(done.result)
            assert (result_vo, task_tenant, done.tenant) == (vo, vo, vo)
            assert (await task_done(natsume_client, child)).tenant == vo


@pytest.mark.parametrize("name", ["t:Rule", "t:RuleSkip", "t:RuleAll"])
async def test_a_chain_that_stood_still_goes_on_as_its_policy_says(
    reconciler, natsume_broker, natsume_start_worker, ticks, name
):
    """Neither a worker nor a conductor was there: one occurrence waits in its lane, the next is not armed."""
    conductor = reconciler(name)
    await conductor.once()
    key = ScheduleKey(name)
    first = (await natsume_broker.schedules.present())[0].entry.due.timestamp()
    await until(natsume_broker.now, lambda now: now > first + 7)
    assert await natsume_broker.schedules.present() == []
    back = natsume_broker.now()
    await natsume_start_worker()
    ran = await until(lambda: ticks(key), lambda found: found and max(found) > back)
    due = list(ran)
    assert due[0] == first
    missed = [time for time in due[1:] if time < back - 2]
    # At the instant of the return an occurrence may be due as well.
    assert missed == ([first + 2, first + 4] if name == "t:RuleAll" else [])
    assert all((time - first) % 2 == 0 for time in due)


async def test_an_old_worker_undoes_nothing(reconciler, natsume_broker):
    old = reconciler("t:Beat", "t:EachOne")
    await old.once()
    new = reconciler("t:Beat", "t:Rule")
    new.configure(applied("common: {t:Beat: {enabled: false}}"))
    assert names(await new.once()) == [(Remove, "t:Beat/default"), (Put, "t:Rule/default")]
    assert await old.once() == [], "what a newer one removed or brought is left alone"
    assert names(await reconciler("t:Beat").once()) == [(Put, "t:Beat/default")], "a later start decides"


@pytest.mark.parametrize("name", ["t:Beat", "t:Rule"])
async def test_a_conductor_carries_out_a_tasks_file_also_on_what_a_later_process_armed(
    reconciler, natsume_broker, name
):
    conductor, command = reconciler(name), reconciler(name)
    assert names(await command.once()) == [(Put, f"{name}/default")]
    conductor.configure(applied(f"common: {{{name}: {{enabled: false}}}}", 1.0))
    assert names(await conductor.once()) == [(Remove, f"{name}/default")]
    later = reconciler(name)
    later.configure(applied("", 2.0))
    assert names(await later.once()) == [(Put, f"{name}/default")]
    conductor.configure(applied(f"common: {{{name}: {{schedules: {{default: {{every: 7}}}}}}}}", 3.0))
    assert (Put, f"{name}/default") in names(await conductor.once())
    later.configure(applied(f"common: {{{name}: {{schedules: {{default: {{every: 7}}}}}}}}", 3.0))
    assert await later.once() == []


async def test_a_disabled_class_is_removed_and_a_stranger_is_not(reconciler, natsume_broker):
    await reconciler("t:Beat").once()
    stranger = b"Nats-Schedule: @every 1h\r\nNats-Schedule-Target: task.normal.small.x.Y\r\n"
    await natsume_broker.publisher.publish(b"cron.x.Y.mine._", stranger, b"{}")
    off = reconciler("t:Beat", schedules_off=("t:B*",))
    assert names(await off.once()) == [(Remove, "t:Beat/default")]
    assert [one.subject for one in await natsume_broker.schedules.present()] == ["cron.x.Y.mine._"]


async def test_a_pause_outlasts_reconciliation(reconciler, natsume_broker):
    conductor = reconciler("t:Beat", "t:Rule")
    await conductor.once()
    await natsume_broker.schedules.mark(BEAT.id, Mark("me", 1.0))
    assert names(await conductor.once()) == [(Remove, "t:Beat/default")]
    assert await reconciler("t:Beat").once() == []
    await natsume_broker.schedules.mark(BEAT.id, Mark())
    assert names(await conductor.once()) == [(Put, "t:Beat/default")]


@pytest.mark.parametrize("kill", [False, True])
async def test_an_outage_of_the_broker_restarts_no_interval(
    reconciler, natsume_start_worker, ticks, natsume_server, natsume_broker, kill
):
    conductor = reconciler("t:Beat", "t:Odd", "t:EachOne", "t:OnlyFresh")
    await natsume_start_worker()
    await conductor.once()
    each, fresh = ScheduleKey("t:EachOne"), ScheduleKey("t:OnlyFresh")
    for key in (BEAT, each, fresh):
        await until(lambda key=key: ticks(key), lambda found: len(found) >= 1)
    (natsume_server.kill if kill else natsume_server.stop)()
    await asyncio.sleep(3.2)  # the outage is the fact
    natsume_server.start()
    up = datetime.now(UTC).timestamp()
    await until(lambda: natsume_broker.records_mark, lambda mark: mark < 2**62)
    conductor.doubt()
    await conductor.once()
    for key in (BEAT, each, fresh):
        await until(lambda key=key: ticks(key), lambda found: max(found) > up + 3)
    await conductor.once()
    await until(lambda: ticks(each), lambda found: set(gaps(found)) == {1.0})
    once = await ticks(BEAT) | await ticks(BEAT, skipped=True)
    missed = [due for due in once if up - 3 < due <= up]
    assert missed, "one of the missed ticks is made up: by its own run, or by one that started later and stands for it"
    assert max(gaps(once)) <= 4.0
    assert not [due for due in await ticks(fresh) if up - 3 < due <= up - TICK_LATE_S]
    odd = await until(lambda: ticks(ScheduleKey("t:Odd")))
    assert all(due % 7 == 0 for due in odd)

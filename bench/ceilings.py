"""What the broker and nats-py's core connection give without Natsume: the ceilings, on plain nats-py."""

import asyncio
import time

import nats
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

BODY = b'{"number":123456}'
WINDOW = 4000


async def pipelined_publishes(nc: Nats, subject: str, count: int) -> float:
    """Publishes a second, each acknowledged: counted inbox, no object per acknowledgement."""
    inbox, told = nc.new_inbox(), 0
    done = asyncio.Event()

    async def on_ack(message: Msg) -> None:
        nonlocal told
        assert message.data.startswith(b'{"stream"'), message.data
        told += 1
        if told == count:
            done.set()

    subscription = await nc.subscribe(f"{inbox}.*", cb=on_ack)
    began = time.perf_counter()
    for number in range(count):
        headers = {"Nats-Msg-Id": f"{began}-{number}", "ce-id": f"{number:032x}"}
        await nc.publish(subject, BODY, reply=f"{inbox}.{number}", headers=headers)
        while number - told >= WINDOW:
            await asyncio.sleep(0)
    await done.wait()
    rate = count / (time.perf_counter() - began)
    await subscription.unsubscribe()
    return rate


async def awaited_publishes(nc: Nats, subject: str, count: int) -> float:
    """Publishes a second, one after the other, by nats-py's JetStream client."""
    js = nc.jetstream()
    began = time.perf_counter()
    for number in range(count):
        await js.publish(subject, BODY, headers={"Nats-Msg-Id": f"{began}-{number}"})
    return count / (time.perf_counter() - began)


async def raw_drain(nc: Nats, consumer: str, count: int) -> float:
    """Tasks a second of a loop that pulls, writes a fenced record and acknowledges on its PubAck."""
    inbox, acks = nc.new_inbox(), nc.new_inbox()
    replies: dict[int, str] = {}
    done = asyncio.Event()
    ended = number = outstanding = 0
    pull = f"$JS.API.CONSUMER.MSG.NEXT.TASKS.{consumer}"

    async def ask(batch: int) -> None:
        nonlocal outstanding
        outstanding += batch
        await nc.publish(pull, b'{"batch":%d,"expires":10000000000}' % batch, reply=inbox)

    async def on_message(message: Msg) -> None:
        nonlocal number, outstanding
        if not message.reply:
            return
        outstanding -= 1
        number += 1
        replies[number] = message.reply
        task_id = message.headers["ce-id"]
        record = b'{"id":"%b","state":"COMPLETED","result":null}' % task_id.encode()
        headers = {
            "Nats-Expected-Last-Subject-Sequence": "0",
            "Nats-Expected-Last-Subject-Sequence-Subject": f"record.done.*.{task_id}",
            "Nats-TTL": "3600s",
        }
        await nc.publish(f"record.done.plain.{task_id}", record, reply=f"{acks}.{number}", headers=headers)
        if outstanding < 100:
            await ask(200 - outstanding)

    async def on_ack(message: Msg) -> None:
        nonlocal ended
        assert b'"error"' not in message.data, message.data
        await nc.publish(replies.pop(int(message.subject.rpartition(".")[2])), b"+ACK")
        ended += 1
        if ended == count:
            done.set()

    subscriptions = [await nc.subscribe(inbox, cb=on_message), await nc.subscribe(f"{acks}.*", cb=on_ack)]
    began = time.perf_counter()
    await ask(200)
    await done.wait()
    rate = count / (time.perf_counter() - began)
    for subscription in subscriptions:
        await subscription.unsubscribe()
    return rate


async def raw_latency(nc: Nats, consumer: str, subject: str, count: int) -> list[float]:
    """Seconds from a publish to its arrival at a standing pull, idle, one after the other."""
    inbox = nc.new_inbox()
    seen: list[float] = []
    arrived = asyncio.Event()

    async def on_message(message: Msg) -> None:
        if message.reply:
            seen.append(time.perf_counter() - float(message.data))
            await nc.publish(message.reply, b"+ACK")
            arrived.set()

    subscription = await nc.subscribe(inbox, cb=on_message)
    pull = f"$JS.API.CONSUMER.MSG.NEXT.TASKS.{consumer}"
    await nc.publish(pull, b'{"batch":%d,"expires":30000000000}' % count, reply=inbox)
    for _ in range(count):
        arrived.clear()
        await nc.publish(subject, b"%r" % time.perf_counter(), reply=nc.new_inbox())
        await arrived.wait()
        await asyncio.sleep(0.002)
    await subscription.unsubscribe()
    return seen


async def connect(url: str) -> Nats:
    """A plain nats-py connection."""
    return await nats.connect(url)

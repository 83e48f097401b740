"""`worker` and `dev` as processes: ready when they say so, gone when they are told, nothing left behind."""

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.settings import Settings


def _ready(line):
    return json.loads(line)


def _gone(pid):
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _until(look, within_s=60.0):
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def _consumer(server, name):
    async def read():
        broker = await Broker.connect(Settings(nats_url=server.url))
        try:
            return json.loads(await broker.request(f"$JS.API.CONSUMER.INFO.TASKS.{name}", b""))
        finally:
            await broker.close()

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("size", "concurrency"), [("small", 100), ("medium", len(os.sched_getaffinity(0))), ("large", 1)]
)
def test_a_worker_says_when_its_pulls_stand(start, online, server, size, concurrency):
    worker = start("worker", "--size", size)
    line = _ready(worker.until("worker ready"))
    assert (line["size"], line["concurrency"]) == (size, concurrency)
    assert line["actors"] >= {"small": 4, "medium": 0, "large": 1}[size]
    assert _consumer(server, f"normal-{size}")["num_waiting"] > 0
    assert worker.stop() == 0


def test_a_worker_finishes_what_runs(start, natsume, online):
    worker = start("worker", "--size", "small")
    worker.until("worker ready")
    token = natsume("submit", "Locked", "--args", '["1", 1.5]').out.strip()
    worker.until("locked")
    assert worker.stop() == 0
    assert json.loads(natsume("tasks", "show", token, "--json").out)["state"] == "COMPLETED"


def test_the_grace_period_ends_a_long_task(start, natsume, online):
    worker = start("worker", "--grace-s", "0.2")
    worker.until("worker ready")
    natsume("submit", "Locked", "--args", '["1", 3600]')
    worker.until("locked")
    assert worker.stop(signal.SIGINT) == 0
    rows = {row["lane"]: row for row in json.loads(natsume("lanes", "--json").out)}
    assert rows["normal.small"]["actors"] == {"own:Locked": 1}


BLOCK = """
    import time
    from natsume import BaseTask

    class Block(BaseTask):
        async def execute(self):
            print("blocking", flush=True)
            time.sleep(3600)
"""


def test_a_second_interrupt_ends_at_once_even_a_blocked_worker(start, natsume, online, site):
    site.add("block_actors", BLOCK, "[natsume.tasks.block]\nBlock = block_actors:Block\n")
    worker = start("worker")
    worker.until("worker ready")
    natsume("submit", "Block")
    worker.until("blocking")
    worker.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    while worker.process.poll() is None:  # two that come at once are one
        worker.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        assert time.monotonic() - began < 30
    assert worker.wait() == 130


def test_a_configured_ack_wait_is_applied_and_another_is_adopted(start, online, server):
    first = start("worker", NATSUME_ACK_WAIT_S="7")
    assert "ack_wait of lane" in first.until("ack_wait of lane")
    first.until("worker ready")
    assert {_consumer(server, f"{name}-small")["config"]["ack_wait"] for name in ("realtime", "normal")} == {7 * 10**9}
    assert _consumer(server, "normal-large")["config"]["ack_wait"] == 30 * 10**9
    assert first.stop() == 0
    second = start("worker")
    second.until("worker ready")
    assert second.stop() == 0
    assert not [line for line in second.lines if "ack_wait" in line]
    assert _consumer(server, "normal-small")["config"]["ack_wait"] == 7 * 10**9


class Dev:
    """A running `natsume dev` and the processes below it."""

    def __init__(self, running):
        self.running = running
        line = running.until("natsume dev is ready")
        self.url = re.search(r"nats://\S+", line)[0]
        self.pid = running.process.pid

    def children(self):
        threads = Path(f"/proc/{self.pid}/task").glob("*/children")  # a thread of it starts the broker
        listed = [pid for thread in threads for pid in thread.read_text().split()]
        return {int(pid): Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in listed}

    def worker(self, size):
        return next(pid for pid, command in self.children().items() if size in command)


@pytest.fixture
def dev(start):
    return Dev(start("dev"))


def test_dev_runs_everything_and_ends_with_ctrl_c(dev, natsume, tmp_path):
    ran = natsume("submit", "Echo", "--args", '["a", 2]', "--wait", "--nats-url", dev.url)
    assert ran.out.splitlines()[1:] == ['"aa"'], ran
    rows = json.loads(natsume("lanes", "--json", "--nats-url", dev.url).out)
    assert all(row["waiting_pulls"] > 0 for row in rows)
    again = natsume("dev")
    assert again.code == 1
    assert str(tmp_path / "data") in again.err
    below = dev.children()
    assert len(below) >= 5
    assert dev.running.stop(signal.SIGINT) == 0
    assert all(map(_gone, below))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_dev_leaves_no_process_behind(dev, how):
    below = dev.children()
    dev.running.stop(how)
    _until(lambda: all(map(_gone, below)))


def test_dev_starts_a_dead_worker_again(dev, natsume):
    killed = dev.worker("small")
    os.kill(killed, signal.SIGKILL)
    dev.running.until("the small worker ended")
    _until(lambda: any(pid != killed and "small" in command for pid, command in dev.children().items()))
    ran = natsume("submit", "Echo", "--args", '["a"]', "--wait", "--nats-url", dev.url)
    assert ran.out.splitlines()[1:] == ['"a"'], ran


def test_dev_keeps_its_data_and_its_port_is_free_to_choose(start, natsume, server):
    first = Dev(start("dev"))
    token = natsume("submit", "Echo", "--args", '["a"]', "--delay", "3600", "--owner", "me", "--nats-url", first.url)
    assert first.running.stop(signal.SIGINT) == 0
    second = Dev(start("dev"))
    shown = natsume("tasks", "show", token.out.strip(), "--nats-url", second.url)
    assert shown.code == 0, shown
    assert second.running.stop(signal.SIGINT) == 0
    taken = server.url.rpartition(":")[2]
    refused = natsume("dev", "--port", taken)
    assert refused.code == 1
    assert taken in refused.err
    assert len(refused.error_lines) == 1

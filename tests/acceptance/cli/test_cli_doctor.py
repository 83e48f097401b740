"""`natsume doctor` against real servers: each finding where it is provoked, none where all is well."""

import asyncio
import json
import subprocess

import pytest

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.embedded import EmbeddedServer, find_binary
from natsume.settings import Settings


@pytest.fixture
def doctor(natsume, online, server):
    def run(*options, **variables):
        ran = natsume("doctor", "--json", "--monitor-url", server.monitor_url, *options, **variables)
        return ran.code, {one["subject"]: one for one in json.loads(ran.out)}

    return run


def _api(server, subject, body):
    async def ask():
        broker = await Broker.connect(Settings(nats_url=server.url))
        try:
            return json.loads(await broker.request(f"$JS.API.{subject}", json.dumps(body).encode()))
        finally:
            await broker.close()

    return asyncio.run(ask())


def test_a_healthy_installation_has_nothing_but_notes(doctor, natsume):
    natsume("topology", "apply")
    code, findings = doctor()
    assert code == 0
    assert {one["severity"] for one in findings.values()} == {"note"}
    assert "1 s" in findings["durability"]["sentence"]


def test_a_missing_topology(doctor):
    code, findings = doctor()
    assert code == 0
    assert "is missing" in findings["topology"]["sentence"]
    assert "natsume topology apply" in findings["topology"]["advice"]


def test_no_broker(natsume, site):
    ran = natsume("doctor", "--json")
    assert ran.code == 1
    (finding,) = json.loads(ran.out)
    assert (finding["severity"], finding["subject"]) == ("error", "broker")
    assert ran.err == ""


def test_a_changed_consumer(doctor, natsume, server):
    natsume("topology", "apply")
    config = _api(server, "CONSUMER.INFO.TASKS.normal-small", {})["config"] | {"max_ack_pending": 5}
    body = {"stream_name": "TASKS", "config": config, "action": "update"}
    assert "error" not in _api(server, "CONSUMER.CREATE.TASKS.normal-small", body)
    code, findings = doctor()
    assert code == 0
    assert "TASKS/normal-small has max_ack_pending 5 instead of -1" in findings["topology"]["sentence"]


def test_ack_wait_is_a_difference_only_where_it_is_configured(doctor, natsume):
    natsume("topology", "apply", "--ack-wait-s", "7")
    assert "topology" not in doctor()[1]
    assert "topology" not in doctor(NATSUME_ACK_WAIT_S="7")[1]
    assert "ack_wait" in doctor(NATSUME_ACK_WAIT_S="8")[1]["topology"]["sentence"]


def test_tasks_without_a_worker(doctor, natsume, start):
    natsume("submit", "Large")
    code, findings = doctor()
    assert code == 1
    assert findings["lane normal.large"]["severity"] == "error"
    assert "natsume worker --size large" in findings["lane normal.large"]["advice"]
    start("worker", "--size", "large").until("worker ready")
    code, findings = doctor()
    assert code == 0
    assert "lane normal.large" not in findings


def test_effects_without_a_conductor(doctor, natsume, start):
    worker = start("worker")
    worker.until("worker ready")
    natsume("submit", "Fail", "--wait")
    code, findings = doctor()
    assert code == 1
    assert findings["effects"]["advice"] == "start `natsume conductor`"


def test_problems_of_the_registry(doctor, natsume, site):
    natsume("topology", "apply")
    site.add("broken_actors", "import nowhere\n", "[natsume.tasks.broken]\nLost = broken_actors:Lost\n")
    code, findings = doctor()
    assert code == 1
    assert "broken:Lost" in findings["actors"]["sentence"]


@pytest.mark.parametrize(("interval", "severity"), [("2m", "warning"), ("always", None)])
def test_durability_is_read_from_the_server(natsume, environ, interval, severity):
    with EmbeddedServer(sync_interval=interval) as server:
        ran = natsume("doctor", "--json", "--nats-url", server.url, "--monitor-url", server.monitor_url)
        found = [one["severity"] for one in json.loads(ran.out) if one["subject"] == "durability"]
    assert found == ([severity] if severity else [])


def test_durability_that_cannot_be_seen_says_how(natsume, online):
    ran = natsume("doctor", "--json", "--monitor-url", "http://127.0.0.1:1")
    finding = next(one for one in json.loads(ran.out) if one["subject"] == "durability")
    assert finding["severity"] == "note"
    assert "unknown" in finding["sentence"]
    assert "--monitor-url" in finding["advice"]


def test_a_server_without_jetstream(natsume, server):
    port = int(server.url.rpartition(":")[2]) + 1
    plain = subprocess.Popen([find_binary(), "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.PIPE)
    try:
        assert plain.stderr is not None
        assert any(b"Server is ready" in line for line in plain.stderr)
        ran = natsume("doctor", "--json", "--nats-url", f"nats://127.0.0.1:{port}")
    finally:
        plain.terminate()
        plain.wait()
        plain.stderr.close()
    assert ran.code == 1
    assert "jetstream" in {one["subject"] for one in json.loads(ran.out)}


def test_the_table_says_the_same(natsume, online):
    natsume("submit", "Large")
    ran = natsume("doctor")
    assert ran.code == 1
    assert "natsume worker --size large" in ran.out

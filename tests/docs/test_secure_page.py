"""The permissions that the page gives a service are enough for a service."""

import re
from dataclasses import dataclass
from pathlib import Path

from natsume import BaseTask
from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.settings import Security, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "secure-the-connection.md").read_text()


@dataclass
class Double(BaseTask):
    number: int

    async def execute(self):
        return 2 * self.number


async def test_a_service_submits_and_asks():
    (block,) = re.findall(r"```\n(authorization .*?)```", PAGE, re.DOTALL)
    config = block.replace("$WORKER_PASSWORD", "one").replace("$SHOP_PASSWORD", "two")
    registry = Registry.of_classes({"shop:Double": Double})
    with EmbeddedServer(extra_config=config) as server:
        whole = Settings(nats_url=server.url, security=Security(user="natsume", password="one"), grace_s=2.0)
        narrow = Settings(nats_url=server.url, security=Security(user="shop", password="two"))
        async with working(whole, registry), connect(settings=narrow, registry=registry) as client:
            token = await client.submit(Double(1), delay=0.5, track=True)
            assert (await client.status(token)).state == "WAITING"
            assert await client.result(token) == 2
            assert (await client.status(token)).state == "COMPLETED"

"""What the how-to on dead letters shows runs as it says."""

import re
from pathlib import Path

from natsume.actors.registry import Registry
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.testing import task_done

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "replay-dead-letters.md").read_text()


async def test_the_parts_are_repaired(natsume_broker, natsume_settings):
    names: dict[str, object] = {"__name__": "page"}
    (code,) = re.findall(r"```python\n# \S+\.py\n(.*?)```", PAGE, re.DOTALL)
    exec(code, names)  # our own page
    registry = Registry.of_classes({"repair:Repair": names["Repair"]})
    async with working(natsume_settings, registry), connect(settings=natsume_settings, registry=registry) as client:
        for token in await client.submit_many([names["Repair"](""), names["Repair"]("")]):
            assert (await task_done(client, token)).letter is not None
        tokens = await names["repair_all"](client, "wheel")
        assert [await client.result(token) for token in tokens] == ["wheel is repaired"] * 2
        assert await names["repair_all"](client, "wheel") == []

"""What the how-to on the status API shows runs as it says, and all its requests and refusals are there."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from asgi import ask
from natsume import BaseTask
from natsume.actors.registry import Registry
from natsume.compose.worker import working
from natsume.connecting import connect
from natsume.web.document import document

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "mount-the-status-api.md").read_text()


class Noop(BaseTask):
    async def execute(self) -> None:
        """Nothing."""


@pytest.fixture
def portal(monkeypatch):
    (code,) = re.findall(r"```python\n# \S+\.py\n(.*?)```", PAGE, re.DOTALL)
    module = ModuleType("portal")
    monkeypatch.setitem(sys.modules, "portal", module)
    exec(code, module.__dict__)  # our own page
    return module


async def test_the_portal_tells_its_users(portal, natsume_broker, natsume_settings, monkeypatch):
    registry = Registry.of_classes({"p:Noop": Noop})
    monkeypatch.setattr("natsume.connect", lambda: connect(settings=natsume_settings, registry=registry), raising=False)
    async with portal.connected(portal.app), working(natsume_settings, registry):
        token = await portal.app.state.natsume.submit(Noop(), owner="ada")
        answers = [
            await ask(portal.app, "GET", f"/natsume/tasks/{token}/end", authorization=f"Bearer {secret}")
            for secret in ("s3cret", "0p", "wrong")
        ]
        assert [answer.status for answer in answers] == [200, 200, 401]
        assert answers[0].json["state"] == "COMPLETED"
        assert (await ask(portal.app, "GET", "/natsume/openapi.json")).status == 200


def test_all_requests_and_refusals_are_on_the_page():
    paths = document("")["paths"]
    described = {f"{method.upper()} {path}" for path, ways in paths.items() for method in ways}
    named = {name.split("?")[0] for name in re.findall(r"^\| `(\w+ /[^`]*)`", PAGE, re.MULTILINE)}
    assert named == described | {"GET /openapi.json"}
    refusals = {code for ways in paths.values() for way in ways.values() for code in way["responses"]} - {"200", "204"}
    assert set(re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)) == refusals

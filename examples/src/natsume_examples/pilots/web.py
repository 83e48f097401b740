"""The pilots over HTTP: a service that submits tasks and reads the tables; plain ASGI."""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

import natsume
from natsume.client import Client
from natsume_examples.pilots import logic
from natsume_examples.pilots.db import PilotsDB
from natsume_examples.pilots.tasks import MyPilotTask
from natsume_examples.vo import DEFAULT_VO

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, dict[str, Any]]

_SUBMIT: Final = re.compile(r"/api/my_pilots/submit/([^/]+)")
_SUMMARY: Final = "/api/my_pilots/summary"


class PilotsApp:
    """The application: `uvicorn natsume_examples.pilots.web:app`; each request names its VO as `?vo=`."""

    def __init__(self, connect: Callable[[], Any] = natsume.connect) -> None:
        self._connect = connect
        self._client: Client | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            status, body = await self._answer(scope)
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Stay connected from startup to shutdown."""
        await receive()
        try:
            async with self._connect() as self._client:
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except natsume.NatsumeError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message) -> Answer:
        vo = parse_qs(scope["query_string"].decode()).get("vo", [DEFAULT_VO])[0]
        to_submit = _SUBMIT.fullmatch(scope["path"])
        if to_submit is None and scope["path"] != _SUMMARY:
            return 404, {"error": "there is nothing here"}
        if scope["method"] != ("POST" if to_submit else "GET"):
            return 405, {"error": f"{scope['method']} is not for {scope['path']}"}
        return await self._submit(vo, to_submit[1]) if to_submit else await self._summary(vo)

    async def _submit(self, vo: str, ce_name: str) -> Answer:
        """Submit a pilot where there seems to be room; the task's reservation decides whether there is."""
        assert self._client is not None, "a server sends lifespan.startup first"
        async with PilotsDB.transaction() as db:
            element = await db.element(vo, ce_name)
            active = await db.active(vo)
        if element is None:
            return 404, {"error": f"{vo} has no compute element {ce_name}"}
        if not logic.free_slots(element, active.get(ce_name, 0)):
            return 409, {"error": f"{ce_name} has no free slot for {vo}"}
        return 202, {"token": await self._client.submit(MyPilotTask(ce_name, vo))}

    async def _summary(self, vo: str) -> Answer:
        async with PilotsDB.transaction() as db:
            return 200, dict(logic.summary((await db.statuses(vo)).values()))


app = PilotsApp()

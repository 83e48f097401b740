"""The application: each request is read whole, authorised, asked of the client in that caller's name, and answered."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from natsume.client import Client
from natsume.core.rights import Act, Who
from natsume.exceptions import BrokerError, Forbidden, LedgerError, UnknownTask, UsageError
from natsume.model import limits
from natsume.web.answers import Cancelled, Refused, Replayed, tasks_of, told
from natsume.web.document import document
from natsume.web.questions import Cancel, Listing, Remark, Replay, Waiting, body_of, filter_of, place_of, query_of

_log = logging.getLogger(__name__)
_SAID: Final = {
    UnknownTask: "there is no such task",
    BrokerError: "the broker cannot be asked now; try again",
    LedgerError: "the ledger cannot be asked now; try again",
}
"""What a caller is told, whatever the token and the cause, which may name hosts and users."""

Authorize = Callable[[Request], Awaitable[Who | None]]


def status_api(client: Callable[[], Client], authorize: Authorize) -> Starlette:
    """An ASGI application of the client that the service has connected by the time of a request.

    `authorize` says who sent a request, None for nobody, which is answered with 401; it may raise Starlette's
    HTTPException to refuse in its own way. All that it says yes to is then a matter of rights.
    """
    api = _Api(client, authorize)
    routes = [
        Route("/tasks", api.find, methods=["GET"]),
        Route("/tasks/{token}", api.get, methods=["GET"]),
        Route("/tasks/{token}/end", api.end, methods=["GET"]),
        Route("/tasks/{token}/cancel", api.cancel, methods=["POST"]),
        Route("/tasks/{token}/replay", api.replay, methods=["POST"]),
        Route("/tasks/{token}/comments", api.comment, methods=["POST"]),
        Route("/openapi.json", _describe, methods=["GET"]),
    ]
    handlers: dict[Any, Any] = {kind: _refuse(status) for kind, status in _STATUSES.items()}
    return Starlette(routes=routes, exception_handlers={**handlers, HTTPException: _refused})


class _Api:
    """The requests; those that wait for an end are bounded, for each holds a connection."""

    def __init__(self, client: Callable[[], Client], authorize: Authorize) -> None:
        self._client = client
        self._authorize = authorize
        self._waiting = 0

    async def find(self, request: Request) -> Response:
        who = await self._who(request)
        listing = query_of(request.scope["query_string"], Listing)
        wanted, after = filter_of(listing), place_of(listing.after)
        page = await self._client().ledger.find(wanted, as_user=who, count=listing.limit, after=after)
        return _json(tasks_of(page))

    async def get(self, request: Request) -> Response:
        who = await self._who(request)
        return _json(told(await self._client().status(_token(request), as_user=who)))

    async def end(self, request: Request) -> Response:
        who = await self._who(request)
        waiting = query_of(request.scope["query_string"], Waiting)
        if self._waiting >= limits.WEB_WAITING_MAX:
            raise HTTPException(503, "too many requests wait; ask again later")
        self._waiting += 1
        try:
            status = await self._client().ledger.ended(_token(request), waiting.timeout_s, as_user=who)
        finally:
            self._waiting -= 1
        return _json(told(status))

    async def cancel(self, request: Request) -> Response:
        who = await self._who(request)
        wish = body_of(await _body(request), Cancel)
        cancelled = await self._client().cancel(_token(request), why=wish.why, cascade=wish.cascade, as_user=who)
        return _json(Cancelled(cancelled))

    async def replay(self, request: Request) -> Response:
        who = await self._who(request)
        wish = body_of(await _body(request), Replay)
        client, token = self._client(), _token(request)
        done = (await client.ledger.allowed(token, Act.REPLAY, who)).done
        if done is None or done.letter is None:
            raise UsageError("this task is no dead letter")
        return _json(Replayed(await client.letters.replay(token, why=wish.why, as_user=who)))

    async def comment(self, request: Request) -> Response:
        who = await self._who(request)
        remark = body_of(await _body(request), Remark)
        await self._client().comment(_token(request), remark.text, as_user=who)
        return Response(status_code=204)

    async def _who(self, request: Request) -> Who:
        who = await self._authorize(request)
        if who is None:
            raise HTTPException(401, "say who you are")
        return who


async def _describe(request: Request) -> Response:
    return _json(document(request.scope.get("root_path", "")))


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > limits.WEB_BODY_MAX:
            raise HTTPException(413, f"the body has more than {limits.WEB_BODY_MAX} bytes")
    return body


def _token(request: Request) -> str:
    token: str = request.path_params["token"]
    return token


def _json(answer: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type="application/json")


_STATUSES: Final = {UsageError: 400, Forbidden: 403, UnknownTask: 404, BrokerError: 503, LedgerError: 503}


def _refuse(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        if status == 503:
            _log.warning("a request could not be answered: %s", error)
        said = next((text for kind, text in _SAID.items() if isinstance(error, kind)), str(error))
        return _json(Refused(said), status)

    return answer


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _json(Refused(error.detail), error.status_code)
    response.headers.update(error.headers or {})
    return response

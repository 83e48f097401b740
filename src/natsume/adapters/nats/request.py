"""Requests to the broker's API, with its errors as ours."""

import asyncio
from collections.abc import Awaitable, Callable

from nats import errors

from natsume.adapters.nats.wire import Wire
from natsume.exceptions import BrokerError, Disconnected, NotAcknowledged
from natsume.model import times

Request = Callable[[str, bytes], Awaitable[bytes]]
"""Takes an API subject and a JSON body, answers the JSON reply; raises BrokerError."""


def requests(wire: Wire) -> Request:
    """Requests over one connection."""

    async def request(subject: str, body: bytes) -> bytes:
        answer = await ask(wire, subject, body, times.PUBACK_TIMEOUT_S)
        if answer is None:
            raise BrokerError("the broker has no JetStream; start it with `-js` or our server.conf", 503)
        return answer

    return request


async def ask(wire: Wire, subject: str, body: bytes, timeout_s: float) -> bytes | None:
    """The first reply to a request, None where nobody listens; raises Disconnected or NotAcknowledged."""
    task = asyncio.current_task()
    cancelled = task.cancelling() if task is not None else 0
    try:
        answer = await wire.request(subject, body, timeout=timeout_s)
    except errors.NoRespondersError:
        return None
    except (errors.ConnectionClosedError, errors.OutboundBufferLimitError):
        raise Disconnected("the broker is not connected now; nothing was sent") from None
    except (TimeoutError, errors.TimeoutError):
        raise NotAcknowledged(f"nobody answered {subject} in time") from None
    if task is not None and task.cancelling() > cancelled:
        # Before Python 3.12 the wait inside swallows a cancellation that comes together with the answer.
        raise asyncio.CancelledError
    return bytes(answer.data)

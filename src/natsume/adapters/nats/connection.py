"""Connecting: every command, client and thread alike, with the same security and the same patience."""

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from nats import errors

from natsume.adapters.nats.wire import Wire
from natsume.exceptions import BrokerError, UsageError
from natsume.settings import Security

_log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S: Final = 2
_DEADLINE_S: Final = 2.5
_CLOSE_S: Final = 0.25
_RECONNECT_PAUSE_S: Final[Any] = 0.2  # declared as whole seconds, taken as any
_PING_INTERVAL_S: Final = 10


async def connect_wire(url: str, security: Security, *, name: str) -> Wire:
    """A connection that comes back by itself for ever, once it stood; one clear error if it never stands."""
    servers = [part.strip() for part in url.split(",") if part.strip()]
    for server in servers:
        _check(server)
    options = _options(security)
    cause = "no server was named"
    for first in range(len(servers)):
        wire = Wire()
        try:
            # A server that wants TLS of a client without any never answers at all.
            async with asyncio.timeout(_DEADLINE_S):
                await _connect(wire, servers[first:] + servers[:first], name, options)
        except (OSError, errors.Error, TimeoutError) as error:
            cause = str(error) or "no answer in time; does it want TLS?"
            with suppress(errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await wire.close()
        else:
            return wire
    raise BrokerError(
        f"no broker answers at {_public(servers)} ({cause}); start one with `natsume dev`, or set NATSUME_NATS_URL"
    )


async def _connect(wire: Wire, servers: list[str], name: str, options: dict[str, Any]) -> None:
    """Try the first of the servers once; afterwards any of them will do, for ever."""
    stands = False

    async def on_error(error: Exception) -> None:
        if not stands:
            raise error  # else nats-py would go on for ever with what never stood
        _log.info("the connection to the broker reports: %s", error or type(error).__name__)

    await wire.connect(
        servers,
        name=name,
        error_cb=on_error,
        pending_size=0,
        dont_randomize=True,
        allow_reconnect=False,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_PAUSE_S,
        connect_timeout=_CONNECT_TIMEOUT_S,
        ping_interval=_PING_INTERVAL_S,
        **options,
    )
    stands = True
    wire.options["allow_reconnect"] = True


def _check(server: str) -> None:
    try:
        parts = urlsplit(server if "://" in server else f"nats://{server}")
        good = parts.scheme in {"nats", "tls", "ws", "wss"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"{_public([server])!r} is no broker's URL; it looks like nats://host:4222")


def _public(servers: list[str]) -> str:
    """The servers without what is secret in a URL."""
    return ", ".join(server.rpartition("@")[2].removeprefix("nats://") for server in servers)


def _options(security: Security) -> dict[str, Any]:
    options: dict[str, Any] = {
        "user": security.user,
        "password": security.password,
        "user_credentials": security.credentials,
        "nkeys_seed": security.nkey,
    }
    try:
        if security.tls_ca or security.tls_cert:
            context = ssl.create_default_context(cafile=security.tls_ca)
            if security.tls_cert:
                context.load_cert_chain(security.tls_cert, security.tls_key)
            options["tls"] = context
        for path in (security.credentials, security.nkey):
            if path is not None:
                with open(path, "rb"):
                    pass
    except OSError as error:
        raise UsageError(f"a file of the connection's security cannot be read: {error}") from None
    return {name: value for name, value in options.items() if value is not None}

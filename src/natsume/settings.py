"""What the environment configures; every value has a command-line option where it concerns a command."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from natsume.exceptions import UsageError


class Security(msgspec.Struct, frozen=True):
    """How to be let in; none of it is ever printed or logged."""

    credentials: str | None = None
    nkey: str | None = None
    user: str | None = None
    password: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __repr__(self) -> str:
        return "Security(…)"


class Settings(msgspec.Struct, frozen=True):
    """Where the broker is and how long things may take, in seconds."""

    nats_url: str = "nats://127.0.0.1:4222"
    security: Security = Security()
    database_url: str | None = None
    data_dir: Path = Path.home() / ".local" / "share" / "natsume"
    ack_wait_s: float = 30.0
    grace_s: float = 30.0
    max_crashes: int = 3
    slot_tasks: int = 1000
    slot_memory_mb: int = 1024
    keep_completed_days: float = 7.0
    keep_failed_days: float = 90.0
    prefixes: tuple[str, ...] = ("natsume",)
    schedules_off: tuple[str, ...] | None = None
    worker: str = f"{socket.gethostname()}-{os.getpid()}"

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """The settings of an environment; raises UsageError naming the variable that is wrong."""
        given: dict[str, Any] = {}
        for field, (variable, convert) in _VARIABLES.items():
            text = environ.get(variable)
            if text:
                given[field] = _convert(variable, text, convert)
        security = {field: environ[variable] for field, variable in _SECURITY.items() if environ.get(variable)}
        return cls(security=Security(**security), **given)

    @property
    def ledger_file(self) -> Path:
        """Where the ledger is if no `database_url` says otherwise."""
        return self.data_dir / "ledger.sqlite"

    def reaching(self) -> dict[str, str]:
        """The environment variables by which another process reaches the same broker in the same way."""
        secrets = {variable: getattr(self.security, field) for field, variable in _SECURITY.items()}
        return {"NATSUME_NATS_URL": self.nats_url} | {name: text for name, text in secrets.items() if text}

    def at(self, url: str) -> "Settings":
        """The same settings for another broker."""
        return msgspec.structs.replace(self, nats_url=url)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError
    return value


def _days(text: str) -> float:
    return _positive(text)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _prefixes(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(("natsume", *(part.strip() for part in text.split(",") if part.strip()))))


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _convert(variable: str, text: str, convert: Any) -> Any:
    try:
        return convert(text)
    except ValueError:
        units = {_count: "whole number", _days: "number of days"}
        wanted = f"a positive {units.get(convert, 'number of seconds')}"
        raise UsageError(f"{variable} is {text!r}; set it to {wanted}") from None


_VARIABLES: dict[str, tuple[str, Any]] = {
    "nats_url": ("NATSUME_NATS_URL", str),
    "database_url": ("NATSUME_DATABASE_URL", str),
    "data_dir": ("NATSUME_DATA_DIR", Path),
    "ack_wait_s": ("NATSUME_ACK_WAIT_S", _positive),
    "grace_s": ("NATSUME_GRACE_S", _positive),
    "max_crashes": ("NATSUME_MAX_CRASHES", _count),
    "slot_tasks": ("NATSUME_SLOT_TASKS", _count),
    "slot_memory_mb": ("NATSUME_SLOT_MEMORY_MB", _count),
    "keep_completed_days": ("NATSUME_KEEP_COMPLETED_DAYS", _days),
    "keep_failed_days": ("NATSUME_KEEP_FAILED_DAYS", _days),
    "schedules_off": ("NATSUME_SCHEDULES_OFF", _names),
    "prefixes": ("NATSUME_ENTRY_POINT_PREFIXES", _prefixes),
}
_SECURITY = {
    "credentials": "NATSUME_NATS_CREDENTIALS",
    "nkey": "NATSUME_NATS_NKEY",
    "user": "NATSUME_NATS_USER",
    "password": "NATSUME_NATS_PASSWORD",
    "tls_ca": "NATSUME_NATS_TLS_CA",
    "tls_cert": "NATSUME_NATS_TLS_CERT",
    "tls_key": "NATSUME_NATS_TLS_KEY",
}

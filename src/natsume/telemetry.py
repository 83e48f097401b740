"""Log lines with the task's fields on every one, also on those of the task's own logging."""

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

task_fields: ContextVar[tuple[str, str, int, str] | None] = ContextVar("natsume_task", default=None)
"""Id, actor, attempt and worker of the task that runs here."""


def add_task_fields(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the running task's fields on a log event."""
    fields = task_fields.get()
    if fields is not None:
        event["task"], event["actor"], event["attempt"], event["worker"] = fields
    return event


_configured: list[tuple[str, str]] = []


def configured() -> tuple[str, str] | None:
    """How logging was configured here last: format and level."""
    return _configured[-1] if _configured else None


def configure(log_format: str = "auto", level: str = "INFO") -> None:
    """Send all logging, structlog's and the standard library's, to stderr.

    `auto` is coloured key=value on a terminal and JSON lines elsewhere; `console` and `json` force one.
    """
    _configured[:] = [(log_format, level)]
    import structlog  # noqa: PLC0415 - only commands configure logging; `natsume --help` need not load it

    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        add_task_fields,
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    ending: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())

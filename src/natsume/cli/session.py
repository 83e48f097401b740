"""The options that every command has: how to reach the broker, what to log."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal, cast

import msgspec
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from natsume.cli.values import lighten
from natsume.settings import Security, Settings

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
_SECURITY: Final = Security.__struct_fields__


class Session(msgspec.Struct, frozen=True):
    """What the common options and the environment say."""

    settings: Settings
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    debug: bool = False

    def log(self) -> None:
        """Send logging to stderr, as the options say."""
        from natsume.telemetry import configure  # noqa: PLC0415 - only what runs tasks logs

        configure(self.log_format, self.log_level)


def session_of(context: typer.Context) -> Session:
    """The session of the command that runs."""
    return cast("Session", context.obj)


@asynccontextmanager
async def requests_of(context: typer.Context) -> AsyncIterator[Callable[[str, bytes], Awaitable[bytes]]]:
    """Requests to the broker of the command that runs, whatever its topology."""
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker

    async with looking(session_of(context).settings) as broker:
        yield broker.request


def new_app(help_text: str | None = None) -> typer.Typer:
    """An app for one command, or for a group of them if it gets several."""
    return typer.Typer(help=help_text, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def group_app(help_text: str) -> typer.Typer:
    """An app that stays a group even with a single command."""
    app = new_app(help_text)
    app.callback()(_nothing)
    return app


def connected(command: Any, name: str) -> Any:
    """The command under this name, or each command of the group, with the common options."""
    if isinstance(command, TyperGroup):
        inner = {key: connected(one, key) for key, one in command.commands.items()}
        return LightGroup(name=name, help=command.help, commands=inner, rich_markup_mode=None)
    return _Connected(command, name)


class LightGroup(TyperGroup):
    """A group whose own options are read lightly."""

    def get_params(self, ctx: Any) -> Any:
        """The options, `--help` among them."""
        return lighten(super().get_params(ctx))


class _Connected(TyperCommand):
    """A command with the common options, which it turns into the context's session."""

    def __init__(self, inner: Any, name: str) -> None:
        self._common = common_options()
        super().__init__(
            name=name,
            callback=inner.callback,
            params=[*inner.params, *self._common],
            help=inner.help,
            epilog=inner.epilog,
            rich_markup_mode=None,
        )

    def get_params(self, ctx: Any) -> Any:
        """The options, `--help` among them."""
        return lighten(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Run the command with a session in `ctx.obj`."""
        ctx.obj = _session({option.name: ctx.params.pop(option.name) for option in self._common})
        return super().invoke(ctx)


def _session(given: dict[str, Any]) -> Session:
    settings = Settings.read()
    if given["nats_url"]:
        settings = settings.at(given["nats_url"])
    secrets = {field: given[field] for field in _SECURITY if given[field]}
    if secrets:
        settings = msgspec.structs.replace(settings, security=msgspec.structs.replace(settings.security, **secrets))
    return Session(settings, given["log_format"], given["log_level"], given["debug"])


def common_options() -> list[Any]:
    """The options that every command has."""
    app = new_app()
    app.command()(_options)
    return list(get_command(app).params)


def _options(
    nats_url: Annotated[str | None, typer.Option(help="The broker; else NATSUME_NATS_URL.")] = None,
    credentials: Annotated[str | None, typer.Option(help="Credentials file; else NATSUME_NATS_CREDENTIALS.")] = None,
    nkey: Annotated[str | None, typer.Option(help="NKey seed file; else NATSUME_NATS_NKEY.")] = None,
    user: Annotated[str | None, typer.Option(help="User; else NATSUME_NATS_USER.")] = None,
    password: Annotated[str | None, typer.Option(help="Better in NATSUME_NATS_PASSWORD: others see options.")] = None,
    tls_ca: Annotated[str | None, typer.Option(help="CA file; else NATSUME_NATS_TLS_CA.")] = None,
    tls_cert: Annotated[str | None, typer.Option(help="Certificate file; else NATSUME_NATS_TLS_CERT.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="Key file; else NATSUME_NATS_TLS_KEY.")] = None,
    log_format: Annotated[
        LogFormat, typer.Option(envvar="NATSUME_LOG_FORMAT", help="auto: console on a terminal, else JSON lines.")
    ] = "auto",
    log_level: Annotated[LogLevel, typer.Option(envvar="NATSUME_LOG_LEVEL", help="What to log.")] = "info",
    debug: Annotated[bool, typer.Option("--debug", envvar="NATSUME_DEBUG", help="Show tracebacks.")] = False,
) -> None:
    """Stand for the parameters that the options are made of."""


def _nothing() -> None:
    """Keep a group of one a group."""

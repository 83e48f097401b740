"""`natsume dev`: a broker, a conductor and a worker of each size on this machine, for as long as it runs."""

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from natsume.actors.registry import Registry
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.cli.crew import Member
from natsume.cli.session import Session, new_app, session_of
from natsume.cli.signals import stop_on_signals
from natsume.cli.worker import refuse_problems
from natsume.ending import end
from natsume.enums import Size
from natsume.exceptions import UsageError
from natsume.settings import Security, Settings

_HOST: Final = "127.0.0.1"
_PORT: Final = 4222
_MONITOR_PORT: Final = 8222
_PORTS_MAX: Final = 100
_LOOK_S: Final = 0.5

app = new_app()


@app.command()
def dev(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=f"The broker's port; else {_PORT} or the next free one.")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where data lies; else NATSUME_DATA_DIR.")] = None,
    ack_wait_s: Annotated[
        float | None,
        typer.Option(min=0.1, envvar="NATSUME_ACK_WAIT_S", help="Seconds until a dead worker's tasks return."),
    ] = None,
    grace_s: Annotated[float | None, typer.Option(min=0.0, help="Seconds to finish what runs at the end.")] = None,
) -> None:
    """Run everything on this machine: a broker, a conductor, a worker of each size; Ctrl-C stops it all."""
    session = session_of(context)
    session.log()
    given = {"data_dir": Path(data_dir) if data_dir else None, "grace_s": grace_s, "ack_wait_s": ack_wait_s}
    settings = msgspec.structs.replace(
        session.settings, security=Security(), **{name: value for name, value in given.items() if value is not None}
    )
    refuse_problems(Registry.load(settings.prefixes))
    with _owned(settings.data_dir):
        asyncio.run(_live(session, settings, port, ack_wait_s))


@contextmanager
def _owned(data_dir: Path) -> Iterator[None]:
    """The data directory, made if need be, for this process alone."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "dev.lock").open("w")
    except OSError as error:
        raise UsageError(f"the data directory cannot be used: {error}; choose another with --data-dir") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another `natsume dev` uses {data_dir}; stop it or choose another with --data-dir"
            ) from None
        yield


async def _live(session: Session, settings: Settings, port: int | None, ack_wait_s: float | None) -> None:
    stop = stop_on_signals()
    server = EmbeddedServer(
        port=port or _free_port(_PORT), monitor_port=_free_port(_MONITOR_PORT), store_dir=settings.data_dir / "nats"
    )
    async with server:
        settings = settings.at(server.url)
        await _apply_topology(settings, ack_wait_s)
        members = [_conductor(session, settings), *(_worker(size, session, settings, ack_wait_s) for size in Size)]
        keepers = [asyncio.create_task(member.keep()) for member in members]
        keepers.append(asyncio.create_task(_keep_server(server)))
        told = asyncio.create_task(_tell_when_ready(members, settings))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopped, *keepers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed = [error for keeper in keepers if keeper.done() and (error := keeper.exception())]
            await end(stopped, told, *keepers)
            await asyncio.gather(*(member.stop(settings.grace_s) for member in members))
        if failed:
            raise failed[0]


def _conductor(session: Session, settings: Settings) -> Member:
    arguments = ["conductor", "--log-format", session.log_format, "--log-level", session.log_level]
    return Member("the conductor", arguments, _environ(os.environ, settings))


def _worker(size: Size, session: Session, settings: Settings, ack_wait_s: float | None) -> Member:
    arguments = ["worker", "--size", size.value, "--grace-s", str(settings.grace_s)]
    arguments += ["--log-format", session.log_format, "--log-level", session.log_level]
    if ack_wait_s is not None:
        arguments += ["--ack-wait-s", str(ack_wait_s)]
    return Member(f"the {size.value} worker", arguments, _environ(os.environ, settings))


def _environ(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """What the processes get: our broker, and nothing that is meant for another one."""
    kept = {name: value for name, value in environ.items() if not name.startswith("NATSUME_NATS_")}
    return kept | {"NATSUME_NATS_URL": settings.nats_url, "NATSUME_DATA_DIR": str(settings.data_dir)}


async def _apply_topology(settings: Settings, ack_wait_s: float | None) -> None:
    from natsume.adapters.nats import topology  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.adapters.nats.broker import Broker  # noqa: PLC0415

    broker = await Broker.connect(settings, name="natsume dev")
    try:
        await topology.apply(broker.request, ack_wait_s=ack_wait_s)
    finally:
        await broker.close()


async def _tell_when_ready(members: list[Member], settings: Settings) -> None:
    await asyncio.gather(*(member.ready.wait() for member in members))
    sizes = ", ".join(size.value for size in Size)
    typer.echo(
        f"natsume dev is ready at {settings.nats_url} (workers: {sizes}; data: {settings.data_dir}; Ctrl-C stops it)"
    )


async def _keep_server(server: EmbeddedServer) -> None:
    """Start the broker again where it ended, on its port and its store."""
    while True:
        await asyncio.sleep(_LOOK_S)
        if not server.running:
            await asyncio.to_thread(server.start)


def _free_port(first: int) -> int:
    """The first free port from here on."""
    for port in range(first, first + _PORTS_MAX):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return port
    raise UsageError(f"none of the ports {first} to {first + _PORTS_MAX - 1} is free: choose one with --port")

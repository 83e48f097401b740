"""`natsume worker`: run tasks of one size until told to stop."""

import asyncio
import logging
import os
from functools import partial
from typing import Annotated, Any

import msgspec
import typer

from natsume.actors.registry import Registry
from natsume.cli.errors import Problems
from natsume.cli.parent import PATIENCE_S, Parent
from natsume.cli.session import new_app, session_of
from natsume.cli.signals import stop_on_signals
from natsume.enums import Size
from natsume.model import limits
from natsume.settings import Settings

_log = logging.getLogger(__name__)

app = new_app()


@app.command()
def worker(
    context: typer.Context,
    size: Annotated[Size, typer.Option(help="Which tasks to run.")] = Size.SMALL,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=limits.CONCURRENCY_MAX,
            envvar="NATSUME_CONCURRENCY",
            help="Tasks at a time; else 100 small ones, as many medium ones as there are cores, one large one.",
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            max=limits.PROCESSES_MAX,
            envvar="NATSUME_PROCESSES",
            help="Workers of that concurrency, each a process, under a supervisor that starts again what ends.",
        ),
    ] = 1,
    grace_s: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds to finish what runs; else as configured.")
    ] = None,
    ack_wait_s: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            envvar="NATSUME_ACK_WAIT_S",
            help="Seconds until a dead worker's tasks return; else as the broker has it.",
        ),
    ] = None,
    max_crashes: Annotated[int | None, typer.Option(min=1, help="Crashes that a task may cause.")] = None,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> int:
    """Run tasks of one size; SIGTERM or Ctrl-C finish what runs, a second Ctrl-C ends at once."""
    session = session_of(context)
    session.log()
    if processes > 1 and parent_fd is None:
        from natsume.cli.supervise import Crew, supervise  # noqa: PLC0415 - one worker needs none

        given = {"concurrency": concurrency, "grace-s": grace_s, "ack-wait-s": ack_wait_s, "max-crashes": max_crashes}
        return supervise(
            Crew(session, size, processes, given), session.settings.grace_s if grace_s is None else grace_s
        )
    settings = _configured(session.settings, grace_s=grace_s, ack_wait_s=ack_wait_s, max_crashes=max_crashes)
    registry = Registry.load(settings.prefixes)
    refuse_problems(registry, size)
    parent = None if parent_fd is None else Parent(parent_fd, settings.grace_s + PATIENCE_S)
    _run(_work(settings, registry, size, concurrency or default_concurrency(size), ack_wait_s is not None, parent))
    return 0


def default_concurrency(size: Size) -> int:
    """How many tasks of a size run at a time where nobody says."""
    match size:
        case Size.SMALL:
            return 100
        case Size.MEDIUM:
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1


def refuse_problems(registry: Registry, size: Size | None = None) -> None:
    """Raise Problems if an actor, of one size if that is given, could not run here."""
    actors = [actor for actor in registry.actors if size is None or actor.lane.size is size]
    missing = [sentence for actor in actors for sentence in actor.plan.missing(os.environ)]
    found = [*registry.problems, *missing]
    if found:
        raise Problems(found, "`natsume actors check` lists them all")


def _configured(settings: Settings, **given: Any) -> Settings:
    return msgspec.structs.replace(settings, **{name: value for name, value in given.items() if value is not None})


def _run(work: Any) -> None:
    import uvloop  # noqa: PLC0415 - what only inspects can do without

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def _work(
    settings: Settings, registry: Registry, size: Size, concurrency: int, wanted: bool, parent: Parent | None
) -> None:
    from natsume.adapters.nats.ack_wait import agree  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.compose.worker import working  # noqa: PLC0415

    stop = stop_on_signals()
    agreeing = partial(agree, size=size, wanted_s=settings.ack_wait_s if wanted else None)
    async with working(settings, registry, size, concurrency, agreeing):
        actors = sum(actor.lane.size is size for actor in registry.actors)
        facts = {"size": size.value, "concurrency": concurrency, "actors": actors, "worker": settings.worker}
        _log.info("worker ready", extra=facts)
        if parent is not None:
            parent.ready()
        await stop.wait()
        _log.info("worker stopping: it finishes what runs within %g s", settings.grace_s)
    _log.info("worker stopped")

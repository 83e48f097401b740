"""`natsume limits`: what limiters and semaphores allow, changed while the system runs."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natsume.cli.session import Session, new_app, session_of
from natsume.cli.table import AsJson, show_rows
from natsume.cli.task_row import moment
from natsume.cli.who import AnyActor, MaybeWhy, reason, who
from natsume.core.limit_rules import FIELDS, flaw, with_set, without
from natsume.core.lock_list import key_name
from natsume.exceptions import UsageError
from natsume.model.config import Applied, LimitConfig, LimitSet, LimitsSet, Unreadable
from natsume.settings import Settings

if TYPE_CHECKING:
    from natsume.locks import BaseLock

app = new_app("List, set and take back what limiters and semaphores allow, while the system runs.")

Name = Annotated[
    str, typer.Argument(metavar="LOCK", help="rate:TYPE:KEY…, concurrency:… or semaphore:…; with --actor a kind alone.")
]
ForActor = Annotated[str | None, typer.Option(help="Only for the tasks of this actor.")]
ForVo = Annotated[str | None, typer.Option(help="Only for the tasks of this tenant (VO).")]


@app.command("ls")
def list_limits(
    context: typer.Context,
    classes: Annotated[
        bool, typer.Option("--classes", help="Also what installed limiters and semaphores declare.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what the tasks file and operators say; what is not listed is as the classes say."""
    settings = session_of(context).settings
    rows = asyncio.run(_list(settings))
    rows += _of_classes(settings) if classes else []
    show_rows(rows, as_json, "nothing is set, and no tasks file says anything of limits")


@app.command("set")
def set_limit(
    context: typer.Context,
    lock: Name,
    why: MaybeWhy = None,
    limit: Annotated[int | None, typer.Option(help="Starts in a window, or tasks at a time.")] = None,
    window_seconds: Annotated[float | None, typer.Option(help="The window of a rate limiter.")] = None,
    burst: Annotated[int | None, typer.Option(help="Starts that a rate limiter lets through at once.")] = None,
    permits: Annotated[int | None, typer.Option(help="Holders of a semaphore at a time.")] = None,
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="Switch a limiter on or off.")] = None,
    actor: ForActor = None,
    vo: ForVo = None,
    any_actor: AnyActor = False,
) -> None:
    """Let a limit hold on all workers, within a second; it wins over classes and the tasks file.

    What was set before for the same lock, actor and VO stays where nothing is said now.
    """
    text, session = reason(why), session_of(context)
    name, actor = _target(session, lock, actor, any_actor)
    rule = _rule(name, limit, window_seconds, burst, permits, enabled)
    asyncio.run(_set(session.settings, name, actor, vo, rule, text))
    typer.echo(f"{_told(name, actor, vo)}: it is set")


@app.command()
def unset(context: typer.Context, lock: Name, actor: ForActor = None, vo: ForVo = None) -> None:
    """Take back what was set; what the tasks file or the class says holds again."""
    session = session_of(context)
    name, actor = _target(session, lock, actor, any_actor=True)
    asyncio.run(_unset(session.settings, name, actor, vo))
    typer.echo(f"{_told(name, actor, vo)}: it is as before")


def _target(session: Session, lock: str, actor: str | None, any_actor: bool) -> tuple[str, str | None]:
    """The lock's name and the actor's, checked against what is installed here unless that is not wanted."""
    name = lock if ":" in lock else key_name(lock)
    if name not in FIELDS and name.count(":") < 2:
        raise UsageError(f"{lock!r} is no lock; write kind, object type and key, such as rate:job:7")
    if name in FIELDS and actor is None:
        raise UsageError(f"{name} alone is every {name} lock of one actor; name it with --actor")
    if any_actor:
        return name, actor
    from natsume.actors.registry import Registry  # noqa: PLC0415 - not for what is installed elsewhere
    from natsume.config.tasks_check import object_type_flaw  # noqa: PLC0415

    registry = Registry.load(session.settings.prefixes)
    wrong = object_type_flaw(name) if ":" in name else None
    if wrong is not None:
        raise UsageError(f"{name}: {wrong}")
    return name, registry.find(actor).name if actor is not None else None


def _rule(
    name: str,
    limit: int | None,
    window_seconds: float | None,
    burst: int | None,
    permits: int | None,
    enabled: bool | None,
) -> LimitConfig:
    import msgspec  # noqa: PLC0415 - `--help` need not load it

    given = {"limit": limit, "window_seconds": window_seconds, "burst": burst, "permits": permits, "enabled": enabled}
    try:
        rule = msgspec.convert({key: value for key, value in given.items() if value is not None}, LimitConfig)
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: {str(error).replace('`', '')}") from None
    wrong = flaw(name, rule)
    if wrong is not None:
        raise UsageError(name + wrong)
    return rule


async def _set(
    settings: Settings, name: str, actor: str | None, vo: str | None, rule: LimitConfig, why: str
) -> LimitsSet:
    from natsume.connected import connected  # noqa: PLC0415 - a wrong limit is told without it

    async with connected(settings, name="natsume limits") as broker:
        one = LimitSet(name, rule, who(), why, broker.now(), actor, vo)
        return await broker.limits.change(lambda standing: with_set(standing, one))


async def _unset(settings: Settings, name: str, actor: str | None, vo: str | None) -> None:
    from natsume.connected import connected  # noqa: PLC0415 - `--help` need not load the broker

    async with connected(settings, name="natsume limits") as broker:
        await broker.limits.change(lambda standing: without(standing, (name, actor, vo), broker.now()))


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker

    async with looking(settings) as broker:
        found, _ = await broker.limits.read()
        applied, _ = await broker.config.read()
    for value in (found, applied):
        if isinstance(value, Unreadable):
            raise UsageError(str(value))
    rows = [_row(one, "set") for one in found.sets] if isinstance(found, LimitsSet) else []
    return [*rows, *(_row(one, "file") for one in _of_file(applied))] if isinstance(applied, Applied) else rows


def _of_file(applied: Applied) -> Iterator[LimitSet]:
    config, kept = applied.config, (applied.who, "", applied.at)
    for name, rule in config.limits.items():
        yield LimitSet(name, rule, *kept)
    for vo, tasks in ((None, config.common), *config.vo_overrides.items()):
        for actor, own in tasks.items():
            for kind in FIELDS:
                rule_of_kind: LimitConfig | None = getattr(own.limits, kind)
                if rule_of_kind is not None:
                    yield LimitSet(kind, rule_of_kind, *kept, actor, vo)


def _of_classes(settings: Settings) -> list[dict[str, Any]]:
    """What the limiters of installed actors declare; for which objects is known when a task names them."""
    from natsume.actors.registry import Registry  # noqa: PLC0415
    from natsume.locks import ConcurrencyLimiter, RateLimiter, Semaphore  # noqa: PLC0415 - `--help` need not load it

    Registry.load(settings.prefixes)
    found = [cls for kind in (ConcurrencyLimiter, RateLimiter, Semaphore) for cls in _subclasses(kind)]
    found.sort(key=lambda cls: (cls.kind, cls.__module__, cls.__qualname__))
    return [
        _row(LimitSet(cls.kind, _declared(cls), "", "", 0.0), f"class {cls.__module__}:{cls.__qualname__}")
        for cls in found
    ]


def _subclasses(cls: "type[BaseLock]") -> "Iterator[type[BaseLock]]":
    for own in cls.__subclasses__():
        yield own
        yield from _subclasses(own)


def _declared(cls: type) -> LimitConfig:
    return LimitConfig(*(getattr(cls, name, None) for name in ("limit", "window_seconds", "burst", "default_permits")))


def _row(one: LimitSet, source: str) -> dict[str, Any]:
    rule = {field: getattr(one.rule, field) for field in one.rule.__struct_fields__}
    told = {"source": source, "who": one.who or None, "at": moment(one.at or None), "why": one.why or None}
    return {"lock": one.name, "actor": one.actor, "vo": one.vo, **rule, **told}


def _told(name: str, actor: str | None, vo: str | None) -> str:
    return "".join((name, f" of {actor}" if actor else "", f" in {vo}" if vo else ""))

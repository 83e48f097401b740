"""`natsume submit`: send a task, once its arguments are known to fit."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
import typer

from natsume.actors.registry import Registry
from natsume.base_task import BaseTask
from natsume.cli.given import ActorName, Args, Kwargs, labels_of, make_task
from natsume.cli.session import new_app, session_of
from natsume.settings import Settings

_WAIT_S: Final = 3600.0

app = new_app()


@app.command()
def submit(
    context: typer.Context,
    actor: ActorName,
    args: Args = None,
    kwargs: Kwargs = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When: ISO 8601 with a time zone.")] = None,
    delay: Annotated[float | None, typer.Option(min=0.0, help="In how many seconds.")] = None,
    own_id: Annotated[
        str | None, typer.Option("--id", help="The token to use; submitted twice, it commits once.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Whose task it is.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Which tenant (VO) it belongs to.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; may be repeated.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end and print its result as JSON.")] = False,
) -> None:
    """Submit a task and print its token."""
    session = session_of(context)
    registry = Registry.load(session.settings.prefixes)
    _, task = make_task(registry, actor, args, kwargs)
    options = {
        "at": _time(at),
        "delay": delay,
        "id": own_id,
        "owner": owner,
        "tenant": tenant,
        "labels": labels_of(label),
    }
    asyncio.run(_submit(session.settings, registry, task, options, wait))


async def _submit(settings: Settings, registry: Registry, task: BaseTask, options: dict[str, Any], wait: bool) -> None:
    from natsume.connecting import connect  # noqa: PLC0415 - wrong arguments are told without it

    async with connect(settings=settings, registry=registry) as client:
        token = await client.submit(task, **options)
        typer.echo(token)
        if wait:
            result = await client.result(token, _WAIT_S)
            typer.echo(msgspec.json.encode(result).decode())


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        hint = f"{text!r} is not a time; write it as 2026-12-24T18:00:00+01:00"
        raise typer.BadParameter(hint, param_hint="--at") from None

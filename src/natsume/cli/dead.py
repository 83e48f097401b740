"""`natsume dead`: the tasks that may not run again by themselves."""

import asyncio
import base64
from typing import Annotated, Any

import typer

from natsume.cli.session import group_app, session_of
from natsume.cli.table import Array, AsJson, AsJsonObject, show_one, show_rows
from natsume.cli.tasks import moment
from natsume.exceptions import UnknownTask
from natsume.model.record import Done
from natsume.model.subject import is_id
from natsume.model.task import Reason
from natsume.settings import Settings

app = group_app("List and show dead letters.")


@app.command("ls")
def list_letters(
    context: typer.Context,
    actor: Annotated[str | None, typer.Option(help="Only those of this actor.")] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only those with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows a table may have; JSON has all.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List the dead letters, oldest first."""
    asyncio.run(_list(session_of(context).settings, actor, reason, None if as_json else limit))


@app.command()
def show(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="The task's id.")],
    as_json: AsJsonObject = False,
) -> None:
    """Show one dead letter with its message as it came."""
    show_one(_whole(asyncio.run(_find(session_of(context).settings, token))), as_json)


async def _list(settings: Settings, actor: str | None, reason: Reason | None, limit: int | None) -> None:
    """Print the rows: as they come where there is no limit, else as a table of at most so many."""
    from natsume.adapters.nats.letters import dead_letters  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.cli.looking import looking  # noqa: PLC0415

    rows: list[dict[str, Any]] = []
    more = 0
    array = Array() if limit is None else None
    async with looking(settings) as broker:
        async for done in dead_letters(broker):
            if not _wanted(done, actor, reason):
                continue
            if array is not None:
                array.add(_row(done))
            elif limit is not None and len(rows) < limit:
                rows.append(_row(done))
            else:
                more += 1
    if array is not None:
        array.end()
        return
    show_rows(rows, False, "there are no dead letters")
    if more:
        typer.echo(f"natsume: and {more} more; use --limit or --json", err=True)


async def _find(settings: Settings, token: str) -> Done:
    from natsume.adapters.nats.letters import dead_letter  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.cli.looking import looking  # noqa: PLC0415

    if is_id(token):
        async with looking(settings) as broker:
            found = await dead_letter(broker, token)
        if found is not None:
            return found
    raise UnknownTask(f"there is no dead letter {token!r}; `natsume dead ls` lists them")


def _wanted(done: Done, actor: str | None, reason: Reason | None) -> bool:
    assert done.letter is not None
    named = actor is None or actor in {done.actor, done.actor.partition(":")[2]}
    return named and (reason is None or done.letter.reason is reason)


def _row(done: Done) -> dict[str, Any]:
    assert done.letter is not None
    return {
        "id": done.id,
        "actor": done.actor,
        "reason": str(done.letter.reason),
        "error": f"{done.failure.type}: {done.failure.message}" if done.failure else None,
        "at": moment(done.finished_at),
        "attempts": done.attempt,
    }


def _whole(done: Done) -> dict[str, Any]:
    letter = done.letter
    assert letter is not None
    try:
        body, encoding = letter.body.decode(), "utf-8"
    except UnicodeDecodeError:
        body, encoding = base64.b64encode(letter.body).decode(), "base64"
    return _row(done) | {
        "state": str(done.state),
        "lane": done.lane,
        "owner": done.owner,
        "tenant": done.tenant,
        "parent": done.parent,
        "worker": done.worker,
        "crashes": done.crashes,
        "subject": letter.subject,
        "headers": letter.headers,
        "body": body,
        "body_encoding": encoding,
        "traceback": done.failure.traceback if done.failure else None,
    }

"""`natsume dead`: the tasks that may not run again by themselves, and what becomes of them."""

import asyncio
import base64
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from natsume.cli.choosing import After, Before, ByActor, ByOwner, ByReason, ByTenant, Ids, choice_of, wanted
from natsume.cli.given import Kwargs, json_of
from natsume.cli.session import group_app, session_of
from natsume.cli.settling import RATE, DryRun, Rate, Who, Why, letters_of, link_row, settle
from natsume.cli.table import Array, AsJson, AsJsonObject, show_one, show_rows
from natsume.cli.task_row import moment
from natsume.core.settling import DeadLetter, Order, Wanted
from natsume.exceptions import UsageError
from natsume.model.limits import ARGUMENTS_MAX
from natsume.model.record import Done, Failed
from natsume.service.replaying import DeadLetters, Link, order_of
from natsume.settings import Settings

app = group_app("List, show, replay, edit and discard dead letters.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]
All = Annotated[bool, typer.Option("--all", help="All of them, where nothing else chooses.")]


@app.command("ls")
def list_letters(
    context: typer.Context,
    actor: ByActor = None,
    reason: ByReason = None,
    tenant: ByTenant = None,
    owner: ByOwner = None,
    after: After = None,
    before: Before = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were replayed or discarded.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many rows a table may have; JSON has all.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List the dead letters that somebody still has to deal with, oldest first."""
    which = wanted(actor, reason, tenant, owner, after, before)
    asyncio.run(_list(session_of(context).settings, which, everything, None if as_json else limit))


@app.command()
def show(context: typer.Context, token: Id, as_json: AsJsonObject = False) -> None:
    """Show one dead letter with its message as it came, its failures, and what became of it."""
    show_one(asyncio.run(_show(session_of(context).settings, token)), as_json)


@app.command()
def replay(
    context: typer.Context,
    ids: Ids = None,
    actor: Annotated[
        str | None, typer.Option(help="Only those of this actor; for an ID whose letter names none, the actor to run.")
    ] = None,
    reason: ByReason = None,
    tenant: ByTenant = None,
    owner: ByOwner = None,
    after: After = None,
    before: Before = None,
    everything: All = False,
    dry_run: DryRun = False,
    rate: Rate = RATE,
    why: Why = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Run dead letters again, each under an id of its own. Said again, it finishes what was begun, and no more."""
    which = wanted(actor if not ids else None, reason, tenant, owner, after, before)
    choice = choice_of(ids, which, everything)
    settings = session_of(context).settings
    order = partial(DeadLetters.order, who=who, why=why, actor=actor)
    raise typer.Exit(asyncio.run(settle(settings, choice, order, dry_run, rate, as_json)))


@app.command()
def discard(
    context: typer.Context,
    ids: Ids = None,
    actor: ByActor = None,
    reason: ByReason = None,
    tenant: ByTenant = None,
    owner: ByOwner = None,
    after: After = None,
    before: Before = None,
    everything: All = False,
    dry_run: DryRun = False,
    rate: Rate = RATE,
    why: Why = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Mark dead letters as ones that nobody will replay. They stay to be looked at."""
    choice = choice_of(ids, wanted(actor, reason, tenant, owner, after, before), everything)
    order = order_of(who, why, discard=True)
    settings = session_of(context).settings
    raise typer.Exit(asyncio.run(settle(settings, choice, lambda *_: order, dry_run, rate, as_json)))


@app.command()
def edit(
    context: typer.Context,
    token: Id,
    kwargs: Kwargs = None,
    body: Annotated[
        str | None, typer.Option(metavar="FILE", help="A file with the JSON object of all arguments; - is stdin.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="The actor to run, for a letter that names none.")] = None,
    dry_run: DryRun = False,
    why: Why = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Run a dead letter again with other arguments, all of them, once they are known to fit its actor."""
    if (kwargs is None) == (body is None):
        raise typer.BadParameter("give the arguments either as --kwargs or as --body")
    named = json_of(kwargs, dict, "--kwargs", 'a JSON object, such as \'{"name": "value"}\'')
    raw = _read(body) if body is not None else None

    def order(letters: DeadLetters, letter: DeadLetter) -> Order:
        arguments = letters.actor_of(letter, actor).arguments
        task = arguments.decode(raw) if raw is not None else arguments.from_call([], named)
        return letters.order(letter, who, why, body=arguments.encode(task) if raw is None else raw, actor=actor)

    choice = choice_of([token], Wanted(), False)
    raise typer.Exit(asyncio.run(settle(session_of(context).settings, choice, order, dry_run, RATE, as_json)))


async def _list(settings: Settings, which: Wanted, everything: bool, limit: int | None) -> None:
    """Print the rows: as they come where there is no limit, else as a table of at most so many."""
    rows: list[dict[str, Any]] = []
    more = 0
    array = Array() if limit is None else None
    async with letters_of(settings) as (letters, _):
        async for letter in letters.ls(which, settled=everything):
            row = _row(letter.done) | (_settled(letter) if everything else {})
            if array is not None:
                array.add(row)
            elif limit is not None and len(rows) < limit:
                rows.append(row)
            else:
                more += 1
    if array is not None:
        array.end()
        return
    show_rows(rows, False, "there are no dead letters")
    if more:
        typer.echo(f"natsume: and {more} more; use --limit or --json", err=True)


async def _show(settings: Settings, token: str) -> dict[str, Any]:
    async with letters_of(settings) as (letters, broker):
        (letter,) = await letters.find([token])
        chain = (await letters.chains([token]))[token]
        status = await broker.inquiries.status(token)
    failures = status.failures if status is not None else ()
    return _whole(letter.done) | _settled(letter) | _history(failures, chain)


def _row(done: Done) -> dict[str, Any]:
    assert done.letter is not None
    return {
        "id": done.id,
        "actor": done.actor,
        "reason": str(done.letter.reason),
        "error": f"{done.failure.type}: {done.failure.message}" if done.failure else None,
        "at": moment(done.finished_at),
        "attempts": done.attempts,
    }


def _settled(letter: DeadLetter) -> dict[str, Any]:
    """What a letter that is dealt with adds; one whose replay was begun and not sent is not."""
    settled = letter.settled
    if settled is None:
        return {"settled": None, "replay": None}
    return {"settled": "begun" if letter.is_open else settled.kind, "replay": settled.replay}


def _history(failures: Sequence[Failed], chain: Sequence[Link]) -> dict[str, Any]:
    return {
        "failures": [
            {
                "attempt": one.attempt,
                "at": moment(one.failed_at),
                "error": f"{one.failure.type}: {one.failure.message}",
                "traceback": one.failure.traceback,
            }
            for one in failures
        ],
        "history": [link_row(link) for link in chain],
    }


def _read(name: str) -> bytes:
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            raw = file.read(ARGUMENTS_MAX + 1)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    if len(raw) > ARGUMENTS_MAX:
        raise UsageError(f"{name} has more than {ARGUMENTS_MAX} bytes, the most that arguments may have")
    return raw


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
        "replay_of": done.replay_of,
        "subject": letter.subject,
        "headers": letter.headers,
        "body": body,
        "body_encoding": encoding,
        "traceback": done.failure.traceback if done.failure else None,
    }

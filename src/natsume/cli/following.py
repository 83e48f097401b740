"""`natsume tasks show --follow`, `await`, `cancel` and `comment`: what goes on with a task, as it comes."""

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from natsume.cli.listing import asking
from natsume.cli.session import session_of
from natsume.cli.table import AsJsonObject, show_one
from natsume.cli.task_row import row_of, said
from natsume.cli.who import who
from natsume.exceptions import LedgerError, UnknownTask
from natsume.model.status import Status
from natsume.model.subject import is_id
from natsume.model.task import State
from natsume.service.ledger import Ledger
from natsume.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Token = Annotated[str, typer.Argument(metavar="ID", help="The token that `submit` gave.")]
Row = Callable[[Status], dict[str, Any]]

CODES: Final = {State.COMPLETED: 0, State.FAILED: 3, State.CANCELLED: 4, State.DROPPED: 5}
"""What `await` exits with."""


def cancel(
    context: typer.Context,
    token: Token,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why, for those who look at it later.")] = "",
    cascade: Annotated[bool, typer.Option("--cascade", help="Its unfinished descendants as well.")] = False,
    as_json: AsJsonObject = False,
) -> None:
    """Cancel a task: what waits ends at once, what runs is told. Nobody can take that back."""
    flagged, state = asyncio.run(_cancel(session_of(context).settings, token, why, cascade))
    if as_json:
        show_one({"id": token, "flagged": flagged, "state": str(state)}, as_json)
    elif flagged:
        ended = state is State.CANCELLED
        typer.echo("cancelled" if ended else f"flagged; it is {state}, and ends CANCELLED if it heeds that")
    else:
        typer.echo(f"nothing changed; it is {state}" + ("" if state in CODES else ", and was flagged before"))


def comment(
    context: typer.Context,
    token: Token,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be kept with the task.")],
) -> None:
    """Keep a comment with a task, for all who look at it."""
    asyncio.run(_comment(session_of(context).settings, token, text))


def await_end(
    context: typer.Context,
    token: Token,
    timeout: Annotated[float | None, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait.")] = None,
    as_json: AsJsonObject = False,
) -> None:
    """Wait for the end of a task. Exits with 0 if it completed, 3 if it failed, 4 if cancelled, 5 if dropped."""
    follower = Follower(row_of if as_json else None, patient=True, last_only=as_json)
    raise typer.Exit(CODES[asyncio.run(_within(follower.run(session_of(context).settings, token), token, timeout))])


async def _within(following: Any, token: str, timeout_s: float | None) -> State:
    try:
        async with asyncio.timeout(timeout_s):
            return State(await following)
    except TimeoutError:
        raise TimeoutError(f"task {token} has not ended within {timeout_s:g} s") from None


async def _cancel(settings: Settings, token: str, why: str, cascade: bool) -> tuple[bool, State]:
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.connecting import cancelling_of  # noqa: PLC0415

    async with looking(settings) as broker:
        await broker.refresh_clock()
        flagged = await cancelling_of(broker, who()).cancel(_known(token), who(), why, cascade=cascade)
        status = await broker.inquiries.status(token)
    return flagged, status.state if status is not None else State.CANCELLED


async def _comment(settings: Settings, token: str, text: str) -> None:
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.connecting import cancelling_of  # noqa: PLC0415

    async with looking(settings) as broker:
        await broker.refresh_clock()
        await cancelling_of(broker, who()).comment(_known(token), who(), text)


class Follower:
    """Prints what goes on with a task: JSON lines where it is given rows, else lines, or a bar on a terminal."""

    def __init__(self, row: Row | None, *, patient: bool = False, last_only: bool = False) -> None:
        """`patient` waits for a task of which nothing is known yet, `last_only` prints its end alone."""
        self._row = row
        self._patient = patient
        self._last_only = last_only
        self._said = ""
        self._comments = 0
        self._bar: Bar | None = None

    async def run(self, settings: Settings, token: str) -> State:
        """Follow a task to its end; its state then. Raises UnknownTask."""
        if self._row is None and sys.stdout.isatty():
            from rich.progress import Progress as Bar  # noqa: PLC0415 - dear, and only for people

            self._bar = Bar()
            self._bar.add_task(token, total=None)
            self._bar.start()
        try:
            async with asking(settings) as (ledger, broker):
                async for told in broker.inquiries.follow(_known(token)):
                    status = told or await self._kept(ledger, token)
                    self._tell(status, token)
                    if status is not None and status.done is not None:
                        return status.done.state
        finally:
            if self._bar is not None:
                self._bar.stop()
        raise UnknownTask(f"nothing more can be known of a task {token!r}")

    async def _kept(self, ledger: Ledger, token: str) -> Status | None:
        """What the ledger knows where the broker knows nothing, yet or any more."""
        try:
            return await ledger.status(token)
        except (UnknownTask, LedgerError):
            if self._patient:
                return None
            raise

    def _tell(self, status: Status | None, token: str) -> None:
        if status is None:
            typer.echo(f"natsume: nothing is known of {token} yet; it is waited for", err=True)
        elif self._row is not None:
            if status.done is not None or not self._last_only:
                typer.echo(msgspec.json.encode(self._row(status)).decode())
        else:
            self._line(status)

    def _line(self, status: Status) -> None:
        for one in status.comments[self._comments :]:
            self._print(said(one))
        self._comments = len(status.comments)
        progress = status.progress
        text = f"{status.state}  attempt {max(status.attempts, 1)}"
        if status.waiting_for:
            text += f"  waits for {status.waiting_for}"
        if status.flag is not None and status.done is None:
            text += f"  cancelled by {status.flag.who}"
        if status.done is not None and status.done.failure is not None:
            text += f"  {status.done.failure.type}: {status.done.failure.message}"
        if self._bar is not None:
            told = f"{status.actor}  {text}" + (f"  {progress.message}" if progress else "")
            done, total = (progress.done, progress.total) if progress else (None, None)
            self._bar.update(self._bar.task_ids[0], description=told, completed=done, total=total)
            return
        if progress is not None:
            total_text = "" if progress.total is None else f"/{progress.total:g}"
            text += f"  {progress.done:g}{total_text}  {progress.message}".rstrip()
        if text != self._said:
            self._print(text)
        self._said = text

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            typer.echo(text)


def _known(token: str) -> str:
    if not is_id(token):
        raise UnknownTask(f"{token!r} is no task's id")
    return token

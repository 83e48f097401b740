"""`natsume restore`: rebuild a broker that was lost, or recreate one on purpose."""

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from natsume.cli.session import new_app, session_of
from natsume.cli.table import AsJsonObject, show_one
from natsume.settings import Settings

_LOOK_S = 0.5

app = new_app()


@app.command()
def restore(
    context: typer.Context,
    recreate: Annotated[
        bool,
        typer.Option("--recreate", help="Empty the broker first: hold the lanes, write all down, delete, apply."),
    ] = False,
    wait_s: Annotated[float, typer.Option(min=1.0, help="Seconds for what runs to end, and for conductors.")] = 60.0,
    replicas: Annotated[int | None, typer.Option(min=1, max=5, help="Copies of each stream made anew.")] = None,
    as_json: AsJsonObject = False,
) -> None:
    """Bring into an empty broker what the ledger knows; where nothing was lost, nothing is changed."""
    row = asyncio.run(_restore(session_of(context).settings, recreate, wait_s, replicas))
    if as_json:
        show_one(row, as_json)
    elif not row["restored"]:
        typer.echo("the broker was not lost: nothing to restore")
    elif row["by_another"]:
        typer.echo(f"epoch {row['epoch']}: a conductor has rebuilt the broker; its log says what")
    else:
        typer.echo(
            f"epoch {row['epoch']}: {row['tasks']} tasks run again, {row['joins']} joins, {row['ended']} ends stand,"
            f" {row['dropped']} tasks are lost"
        )


async def _restore(settings: Settings, recreate: bool, wait_s: float, replicas: int | None) -> dict[str, Any]:
    from natsume.actors.registry import Registry  # noqa: PLC0415
    from natsume.adapters.sql.migrating import require  # noqa: PLC0415 - `--help` need not load any of these
    from natsume.adapters.sql.remains import SqlEpochs  # noqa: PLC0415
    from natsume.compose.conductor import database  # noqa: PLC0415
    from natsume.connected import connected  # noqa: PLC0415
    from natsume.restoring.recreation import Recreation  # noqa: PLC0415
    from natsume.restoring.restoration import restorer_of  # noqa: PLC0415

    registry = Registry.load(settings.prefixes)
    async with database(settings) as engine, connected(settings, name="natsume restore") as broker:
        await require(engine)
        epochs = SqlEpochs(engine)
        restorer = restorer_of(broker, engine, settings, registry)
        before = await epochs.meet(broker.records_created)
        recreation = Recreation(broker, epochs, wait_s, lambda line: typer.echo(line, err=True))
        if recreate and (before.restored or await recreation.is_begun()):
            await recreation.carry_out(replicas=replicas)
            before = await epochs.meet(broker.records_created)
        restored = None
        while restored is None and not restorer.known.is_set():
            restored = await restorer.once()
            if restored is None and not restorer.known.is_set():  # a conductor is at it
                await asyncio.sleep(_LOOK_S)
    counts = msgspec.to_builtins(restored.counts) if restored else {}
    return {"restored": not before.restored, "epoch": before.number, "by_another": restored is None, **counts}

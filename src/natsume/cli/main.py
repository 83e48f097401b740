"""The command line: names every command, imports only the one that is called, says each error in one line."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import typer
from typer.main import get_command

from natsume.cli.errors import say, say_usage
from natsume.cli.session import LightGroup, connected
from natsume.exceptions import NatsumeError

COMMANDS: Final[dict[str, str]] = {
    "dev": "Run everything on this machine: a broker, a conductor, a worker of each size.",
    "worker": "Run tasks of one size.",
    "conductor": "Turn commits into children and callbacks.",
    "relay": "Publish what services committed into their outboxes.",
    "migrate": "Create or upgrade the ledger's tables.",
    "submit": "Submit a task and print its token.",
    "call": "Run an actor here and now, in this process.",
    "tasks": "Show what is known of a task, wait for its end, comment or cancel it.",
    "dead": "List, show, replay, edit and discard dead letters.",
    "joins": "List joins, and what they wait for.",
    "locks": "List locks, show who waits for one, release one by hand.",
    "limits": "List, set and take back what limiters and semaphores allow.",
    "strike": "Stop an actor, or some of its tasks; they wait.",
    "unstrike": "End a strike, and let its tasks run.",
    "strikes": "List what is stopped, by whom and why.",
    "workers": "List the workers that run now, with their slots and what is in them.",
    "lanes": "Show what waits on each lane, and whether that is good.",
    "actors": "List the actors of this installation, or check them.",
    "config": "Check, apply and show the tasks file: schedules, retries and limits per task and VO.",
    "schedules": "List, pause, trigger and make up what ticks.",
    "restore": "Rebuild a lost broker from the ledger, or recreate one on purpose.",
    "topology": "Create, compare and show the broker's streams and consumers.",
    "doctor": "Find out what is wrong, and what to do about it.",
}
"""Each command is the `app` of the module with its name."""


class Commands(LightGroup):
    """The commands of the table, each imported when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, with the options that all have."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"natsume.cli.{cmd_name}")
        return connected(get_command(module.app), cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code: 0, 1 for an error, 2 for a wrong use."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if given == ["--version"]:
        return _version()
    group = Commands(
        name="natsume",
        help="Natsume runs tasks on NATS JetStream. Every command takes --nats-url and the other options of the"
        " connection; `natsume COMMAND --help` lists them.",
        rich_markup_mode=None,
    )
    group.commands = dict.fromkeys(COMMANDS, group)  # names alone, for the near matches of a misspelt one
    try:
        code = group.main(given, prog_name="natsume", standalone_mode=False)
    except typer.TyperException as error:
        return say_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except (NatsumeError, Exception) as error:  # noqa: BLE001 - a person reads this, not a traceback
        return say(error, debug="--debug" in given or bool(os.environ.get("NATSUME_DEBUG")))
    return code if isinstance(code, int) else 0


def _version() -> int:
    from importlib.metadata import version  # noqa: PLC0415 - nothing else needs it

    typer.echo(f"natsume {version('natsume')}")
    return 0

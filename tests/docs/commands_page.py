"""Writes docs/reference/commands.md from the commands themselves: `python tests/docs/commands_page.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from natsume.cli.main import COMMANDS, Commands
from natsume.cli.session import common_options

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "commands.md"
HEAD = """# Commands

What `natsume worker --help` and its like tell, on one page. It is written from the commands by
`tests/docs/commands_page.py`.

- Exit code 0, 1 for an error, 2 for a command line that cannot be right. An error is at most three lines on stderr, one
  sentence each; `--debug` adds the traceback.
- What prints a table takes `--json` and then prints one array, or one object for `show`. Times are ISO 8601 in UTC.
- `dev`, `worker` and `conductor` log to stderr and tell in one line when they are ready. SIGTERM or Ctrl-C let them
  finish; a second Ctrl-C ends them at once.

## Options of every command

Better in the [environment](environment.md) than on the command line where others can see it.

"""
TABLE = "| option | meaning |\n|---|---|\n"
KEYS = """
## What `--json` prints

| command | keys |
|---|---|
| `natsume tasks ls` | `id actor state lane owner tenant parent attempts`, then `submitted_at started_at finished_at due_at heartbeat_at worker error reason labels progress_done progress_total cancel_requested consumed` |
| `natsume tasks show` | `id actor state lane owner tenant parent attempts`, then the times, `waiting_for waiting_since behind strike`, `worker labels dead result`, `failures`, each `attempt at error traceback`, and `released`, each `lock at who why` |
| `natsume locks ls` | `key holder since age_s slot hold mode task worker owner ends waiters name`, a row for each holder; `hold` is `held`, `reserved` for a task that was woken, or `requested` by a writer; `show` has `key name waiters`, `holders`, and `line`, each `task actor priority mode since waits_s behind returns_at` |
| `natsume dead ls` | `id actor reason error at attempts`; `--all` adds `settled replay`; `show` adds those, the message as it came: `subject headers body body_encoding`, `failures`, and `history`, each `id what who why at replay sent state` |
| `natsume dead replay`, `edit`, `discard` | `id actor reason outcome replay sentence`; outcomes are `replayed discarded finished unchanged refused`, in a dry run those that would be |
| `natsume joins ls` | `id state total arrived failed callback parent`; `arrived` are the members whose end counts, after `ALL_DONE` also those that failed; `failed` those that failed for good, whether they count or not; `show` adds `failed_members opened_at`, and `replays`: the history of those members, each with `member` |
| `natsume limits ls` | `lock actor vo limit window_seconds burst permits enabled source who at why`; `source` is `set` or `file`, with `--classes` also `class module:Name` |
| `natsume strikes` | `actor arguments who why at waiters key` |
| `natsume workers ls` | `id host pid size state slots busy in_hand runs failures started version`; `state` is `running`, `stopping` or `blocked` |
| `natsume lanes` | `lane pending in_flight waiting_pulls redelivered oldest_s actors batches judgement sentence`; then a row `locks` where tasks wait for locks; the last row is `effects`, what waits for the conductor |
| `natsume actors ls` | `actor lane class arguments retry dlq_eligible timeout_s struck`, the last `null` where no broker answers; with `--by`: `actor tasks wall_s wall_max_s cpu_s cpu_max_s memory_peak_mb`; `check` has `problem` |
| `natsume doctor` | `severity subject sentence advice`; severities are `error warning note` |
| `natsume restore` | `restored epoch by_another`, and where it did it itself `tasks joins ended dropped` |
| `natsume topology` | `apply`: `entity action fields`; `diff`: `entity field there here`; `show`: `entity there` and what is in it |

A lane's `judgement` is `ok`, `backlog` (anything waits on a realtime lane), `lasting` (a normal lane's oldest task waits
for more than a minute), `growing` (a background lane whose oldest task waits for more than a minute holds more at the
second of two readings than at the first), or `no worker`. That of `effects` is `ok` or `no conductor`.
"""  # noqa: E501 - rows of tables


def rendered() -> str:
    """The page, as the commands want it."""
    tree = Commands(name="natsume")
    context = typer.Context(tree, info_name="natsume")
    common = "".join(_rows(common_options()))
    sections = [section for name in COMMANDS for section in _sections(tree.get_command(context, name), context, name)]
    return HEAD + TABLE + common + "".join(sections) + KEYS


def _sections(command: Any, parent: Any, name: str) -> Iterator[str]:
    context = typer.Context(command, info_name=name, parent=parent)
    if isinstance(command, TyperGroup):
        for key, inner in command.commands.items():
            yield from _sections(inner, context, key)
        return
    pieces = " ".join(command.collect_usage_pieces(context)).replace("[OPTIONS]", "").split()
    title = " ".join([context.command_path, *(piece.strip("{}") for piece in pieces)])
    own = [param for param in command.params if param.name not in {option.name for option in common_options()}]
    rows = "".join(_rows(own))
    help_text = " ".join((command.help or "").split())
    yield f"\n## `{title}`\n\n{help_text}\n" + (f"\n{TABLE}{rows}" if rows else "")


def _rows(params: list[Any]) -> Iterator[str]:
    for param in params:
        if param.param_type_name != "option" or param.hidden or param.name == "help":
            continue
        env = f" (`{param.envvar}`)" if param.envvar else ""
        default = "" if param.default in (None, False, []) else f" Default: {_plain(param.default)}."
        yield f"| `{', '.join(param.opts)}` | {param.help}{env}{default} |\n".replace("  ", " ")


def _plain(default: Any) -> str:
    return str(getattr(default, "value", default))


if __name__ == "__main__":
    PAGE.write_text(rendered())

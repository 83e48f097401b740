"""What a person reads when a command cannot do what was asked: at most three lines on stderr."""

from collections.abc import Sequence
from typing import Any, Final

import typer

from natsume.exceptions import NatsumeError

_LINES_MAX: Final = 3
_LINE_MAX: Final = 1000


class Problems(NatsumeError):
    """Several things are wrong, a sentence each; `advice` says where all of them can be seen."""

    def __init__(self, sentences: Sequence[str], advice: str) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = list(sentences)
        self.advice = advice


def say(error: BaseException, *, debug: bool) -> int:
    """Write an error to stderr, with its traceback if that was asked for; returns the exit code."""
    if debug:
        import traceback  # noqa: PLC0415 - rarely needed

        traceback.print_exception(error)
    for line in lines(error):
        typer.echo(line, err=True)
    return 1


def say_usage(error: typer.TyperException) -> int:
    """Write what is wrong with the command line itself; returns its exit code."""
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "natsume"
    message = _one_line(error.format_message()).rstrip(".")
    typer.echo(f"natsume: {message}; see `{path} --help`", err=True)
    return error.exit_code


def lines(error: BaseException) -> list[str]:
    """An error as at most three lines."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, Problems):
        return _cut(error)
    said = _one_line(str(error))
    if isinstance(error, NatsumeError):
        return [f"natsume: {said}"]
    if isinstance(error, TimeoutError) and said:
        return [f"natsume: {said}"]
    return [f"natsume: unexpected {type(error).__name__}: {said}", "natsume: run again with --debug for the traceback"]


def _cut(error: Problems) -> list[str]:
    shown = error.sentences if len(error.sentences) <= _LINES_MAX else error.sentences[: _LINES_MAX - 1]
    rest = len(error.sentences) - len(shown)
    more = [f"natsume: and {rest} more; {error.advice}"] if rest else []
    return [*(f"natsume: {_one_line(sentence)}" for sentence in shown), *more]


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE_MAX else line[:_LINE_MAX] + "…"

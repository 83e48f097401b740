"""What commands print: a table for people, one JSON value for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
import typer

_PIPED_COLUMNS: Final = 200

Row = Mapping[str, Any]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: one array of rows.")]
AsJsonObject = Annotated[bool, typer.Option("--json", help="Print JSON: one object.")]


def show_rows(rows: Sequence[Row], as_json: bool, where_empty: str) -> None:
    """Print rows as one array, or as a table for each set of columns."""
    if as_json:
        array = Array()
        for row in rows:
            array.add(row)
        array.end()
    elif not rows:
        typer.echo(where_empty)
    else:
        _tables(rows)


class Array:
    """One JSON array, each row of it printed as soon as it comes."""

    def __init__(self) -> None:
        self._separator = "["

    def add(self, row: Row) -> None:
        """Print one more row."""
        typer.echo(self._separator + _json(row), nl=False)
        self._separator = ",\n"

    def end(self) -> None:
        """Close the array."""
        typer.echo("[]" if self._separator == "[" else "]")


def show_one(row: Row, as_json: bool) -> None:
    """Print one thing: an object, or a line for each field that has a value, long texts last."""
    if as_json:
        typer.echo(_json(row))
        return
    width = max(map(len, row))
    told = {name: _text(value) for name, value in row.items() if value not in (None, "", [], {})}
    for name, text in told.items():
        if "\n" not in text:
            typer.echo(f"{name:<{width}}  {text}")
    for name, text in told.items():
        if "\n" in text:
            typer.echo(f"{name}:\n{text.rstrip()}")


def _tables(rows: Iterable[Row]) -> None:
    # Late, because it costs more than most commands do.
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    tables: dict[tuple[str, ...], Table] = {}
    for row in rows:
        columns = tuple(row)
        if columns not in tables:
            tables[columns] = Table(*columns)
            tables[columns].columns[0].no_wrap = True
        tables[columns].add_row(*(escape(_text(value)) for value in row.values()))
    # Whole where it is piped, for others to search.
    console = Console(width=None if sys.stdout.isatty() else _PIPED_COLUMNS)
    console.print(*tables.values(), sep="\n")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list | tuple):
        texts = [_text(part) for part in value]
        return ("\n" if any("\n" in text for text in texts) else ", ").join(texts)
    if isinstance(value, Mapping):
        joint = "\n" if any("\n" in str(part) for part in value.values()) else ", "
        return joint.join(f"{key} {_text(part)}" for key, part in value.items())
    return str(value)


def _json(row: object) -> str:
    return msgspec.json.encode(row).decode()

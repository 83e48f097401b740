"""Column types that mean the same in each database."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, LargeBinary, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import desc_op
from sqlalchemy.types import TypeDecorator, TypeEngine

_MYSQL = ("mysql", "mariadb")


class Moment(TypeDecorator[datetime]):
    """A time with microseconds, aware and in UTC on the way in and out; the databases keep it without a zone."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Six digits also where the database would keep seconds."""
        return dialect.type_descriptor(mysql.DATETIME(fsp=6) if dialect.name in _MYSQL else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse what has no zone."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Say that it is UTC."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


def ascii_text(length: int) -> TypeEngine[str]:
    """Ids and names of ours: compared byte by byte, one byte a character, so that keys stay short."""
    return String(length).with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *_MYSQL)


def long_text() -> TypeEngine[str]:
    """Text of up to 16 MB."""
    return Text().with_variant(mysql.MEDIUMTEXT(), *_MYSQL)


def long_bytes() -> TypeEngine[bytes]:
    """Bytes, up to 16 MB."""
    return LargeBinary().with_variant(mysql.MEDIUMBLOB(), *_MYSQL)


class NewestFirst(UnaryExpression[Any]):
    """A column of an index, from its highest value on; from its lowest in SQLite, which is faster backwards."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column, modifier=desc_op)


@compiles(NewestFirst, "sqlite")
def _lowest_first(newest: NewestFirst, compiler: SQLCompiler, **given: Any) -> str:
    return compiler.process(newest.element, **given)

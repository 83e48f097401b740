"""A ledger of very many tasks, filled by the database itself: as various as the filters that are asked of it."""

from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, Table
from sqlalchemy.ext.asyncio import AsyncEngine

from natsume.adapters.sql import schema
from natsume.adapters.sql.types import ascii_text
from natsume.core.traits import labelled, traits

_NUMBERS = {
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) {select} FROM s",
    "mysql": "{select} FROM (SELECT seq AS n FROM seq_1_to_{rows} ORDER BY md5(n) LIMIT {rows}) AS s",
}
_HASHES = {
    "sqlite": "CASE WHEN n < 10 THEN printf('%032x', n) ELSE lower(hex(randomblob(16))) END",
    "mysql": "CASE WHEN n < 10 THEN lpad(hex(n), 32, '0') ELSE md5(n) END",
}
_MOMENTS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', '2026-11-01', '+' || ({0}) || ' seconds')",
    "mysql": "'2026-11-01' + INTERVAL ({0}) SECOND",
}
_TEXTS = {"sqlite": "'{0}' || (n % {1})", "mysql": "concat('{0}', n % {1})"}


async def fill(engine: AsyncEngine, rows: int) -> None:
    """Fill an empty ledger with so many tasks and their labels."""
    kind = engine.dialect.name
    async with engine.begin() as connection:
        indexes = sorted(schema.tasks.indexes, key=lambda index: str(index.name))
        for index in indexes:  # made at the end, which takes a tenth of the time
            await connection.run_sync(index.drop)
        await connection.run_sync(_BITS.create)
        values = [{"value": name, "bits": bits} for name, bits in _bits().items()]
        await connection.execute(_BITS.insert(), values)
        columns = _values(kind)
        head = f"INSERT INTO tasks ({', '.join(columns)}) "
        select = f"SELECT {', '.join(columns.values())}"
        filled = head + _NUMBERS[kind].format(rows=rows, select=select)
        # One driver takes a percent sign for a parameter.
        await connection.exec_driver_sql(filled if kind == "sqlite" else filled.replace("%", "%%"))
        for label, value, of in (("kind", "'even'", "n % 2 = 0"), ("batch", _TEXTS[kind].format("", 2003), "1 = 1")):
            numbered = "(SELECT id, CAST(trace AS SIGNED) AS n FROM tasks) AS numbered"
            filled = (
                f"INSERT INTO labels (task_id, name, value) SELECT id, '{label}', {value} FROM {numbered} WHERE {of}"
            )
            await connection.exec_driver_sql(filled if kind == "sqlite" else filled.replace("%", "%%"))
        for index in indexes:
            await connection.run_sync(index.create)
        await connection.exec_driver_sql("ANALYZE" if kind == "sqlite" else "ANALYZE TABLE tasks, labels")


_COUNTS: Final = {
    "actor": ("g:A", 50),
    "owner": ("owner", 1009),
    "tenant": ("vo", 20),
    "worker": ("worker", 97),
    "parent": ("p", 40009),
    "root": ("r", 4001),
    "join_id": ("j", 1009),
}
_BITS: Final = Table("bits", MetaData(), Column("value", ascii_text(64), primary_key=True), Column("bits", BigInteger))


def _bits() -> dict[str, int]:
    """The traits of all values that there are."""
    named = {
        f"{text}{n}": traits({column: f"{text}{n}"}) for column, (text, count) in _COUNTS.items() for n in range(count)
    }
    reasons = {reason: traits({"reason": reason}) for reason in ("crashed", "exhausted")}
    return named | reasons | {f"batch{n}": labelled("batch", str(n)) for n in range(2003)}


def _values(kind: str) -> dict[str, str]:
    """A column's value of the n-th task: one in a hundred failed, few are open, a third has no owner."""
    name, at = _TEXTS[kind].format, _MOMENTS[kind].format
    values = {column: name(*counted) for column, counted in _COUNTS.items()}
    values["owner"] = f"CASE WHEN n % 3 = 0 THEN NULL ELSE {values['owner']} END"
    for column, each in (("parent", 4), ("root", 4), ("join_id", 8)):
        values[column] = f"CASE WHEN n % {each} = 0 THEN {values[column]} END"
    values["reason"] = "CASE WHEN n % 10000 = 0 THEN 'crashed' WHEN n % 200 = 0 THEN 'exhausted' END"
    bits = [f"COALESCE((SELECT bits FROM bits WHERE value = {value}), 0)" for value in values.values()]
    batch = f"(SELECT bits FROM bits WHERE value = {name('batch', 2003)})"
    even = labelled("kind", "even")
    return values | {
        "id": _HASHES[kind],
        "step": "1",
        "state": "CASE WHEN n % 100 = 0 THEN 'FAILED' WHEN n % 50021 = 0 THEN 'RUNNING' ELSE 'COMPLETED' END",
        "traits": " | ".join(bits),
        "label_traits": f"{batch} | CASE WHEN n % 2 = 0 THEN {even} ELSE 0 END",
        "consumed": "CASE WHEN n % 10007 = 0 THEN 1 ELSE 0 END",
        "cancel_requested": "CASE WHEN n % 20011 = 0 THEN 1 ELSE 0 END",
        "trace": "n",
        "enqueued_at": at("n"),
        "started_at": at("n + n % 61"),
        "finished_at": f"CASE WHEN n % 50021 = 0 THEN NULL ELSE {at('n + n % 61 + n % 307')} END",
        "heartbeat_at": at("n + n % 61 + n % 307"),
    }

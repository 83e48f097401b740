"""The ledger's tables; `migrations/` makes them, and a test compares the two.

Each index that serves a filter has the column, the state and the time that lists are ordered by: with the
states named one by one, the newest of any filter lie together, those without a value too. Behind these lie the traits
(`core.traits`), which rule out nearly all that has not what else is asked for: no two columns need an index together.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

from natsume.adapters.sql.types import Moment, NewestFirst, ascii_text, long_bytes, long_text
from natsume.model import limits

metadata = MetaData()

_ID: Final = limits.ID_MAX
_NAME: Final = limits.LEDGER_NAME_MAX
_OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(create_constraint=False), nullable=False, server_default="0")


tasks = Table(
    "tasks",
    metadata,
    Column("id", ascii_text(_ID), primary_key=True),
    Column("step", BigInteger, nullable=False),
    Column("state", ascii_text(16), nullable=False),
    Column("actor", String(_NAME), nullable=False),
    Column("lane", ascii_text(32)),
    Column("owner", String(_NAME)),
    Column("tenant", String(_NAME)),
    Column("parent", ascii_text(_ID)),
    Column("root", ascii_text(_ID)),
    Column("join_id", ascii_text(_ID)),
    Column("member", Integer),
    Column("trace", Text),
    Column("labels", Text),
    Column("worker", String(_NAME)),
    Column("submitted_at", Moment),
    Column("enqueued_at", Moment, nullable=False),
    Column("due_at", Moment),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("heartbeat_at", Moment, nullable=False),
    _count("attempts"),
    _count("failures"),
    _count("waits"),
    _count("crashes"),
    Column("cpu_s", Double),
    Column("memory_peak_bytes", BigInteger),
    _flag("tracked"),
    _flag("discarded"),
    _flag("cancel_requested"),
    _flag("consumed"),
    Column("reason", ascii_text(32)),
    Column("error", String(_NAME)),
    Column("error_message", Text),
    Column("replay_of", ascii_text(_ID)),
    Column("settled", ascii_text(16)),
    Column("settled_at", Moment),
    Column("settled_by", String(_NAME)),
    Column("settled_why", Text),
    Column("replay", ascii_text(_ID)),
    Column("progress_done", Double),
    Column("progress_total", Double),
    Column("progress_message", Text),
    Column("arguments", long_text()),
    Column("result", long_text()),
    Column("subject", Text),
    Column("headers", long_text()),
    Column("body", long_bytes()),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("resent_at", Moment),
    Column("traits", BigInteger, nullable=False, server_default="0"),
    Column("label_traits", BigInteger, nullable=False, server_default="0"),
    **_OPTIONS,
)

_TIME: Final = ("enqueued_at", "id")
_TRAITS: Final = ("traits", "label_traits")
for _name in ("owner", "actor", "worker", "parent", "root", "join_id", "reason"):
    Index(f"tasks_{_name}", _name, "state", *_TIME, *_TRAITS, _table=tasks)
# These two are walked far, and forwards, for only so MariaDB compares with an entry where it lies. The others are not
# like these, for then it could not go through them name by name.
_NEWEST: Final = (NewestFirst(tasks.c.enqueued_at), NewestFirst(tasks.c.id), tasks.c.traits, tasks.c.label_traits)
Index("tasks_state", tasks.c.state, *_NEWEST)
# With the owner, for whoever sees a tenant's tasks and asks for those of some owners.
Index("tasks_tenant", tasks.c.tenant, tasks.c.state, *_NEWEST, tasks.c.owner)
for _name in ("started_at", "finished_at", "heartbeat_at"):
    Index(f"tasks_{_name}", "state", _name, "id", _table=tasks)

for _name in ("consumed", "cancel_requested"):
    # Few are flagged, and those are looked for.
    Index(f"tasks_{_name}", _name, "state", *_TIME, _table=tasks, sqlite_where=tasks.c[_name] == 1)

labels = Table(
    "labels",
    metadata,
    Column("task_id", ascii_text(_ID), primary_key=True),
    Column("name", String(_NAME), primary_key=True),
    Column("value", String(_NAME), nullable=False),
    Index("labels_value", "name", "value", "task_id"),
    **_OPTIONS,
)
"""The labels of tasks, to find them by; names and values as long as a name may be, of longer ones a hash."""

attempts = Table(
    "attempts",
    metadata,
    Column("task_id", ascii_text(_ID), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("error", String(_NAME), nullable=False),
    Column("message", Text, nullable=False),
    Column("traceback", long_text(), nullable=False),
    Column("worker", String(_NAME), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("failed_at", Moment, nullable=False),
    Column("next_at", Moment),
    **_OPTIONS,
)
"""Every failed attempt of a task."""

comments = Table(
    "comments",
    metadata,
    Column("task_id", ascii_text(_ID), primary_key=True),
    Column("key", ascii_text(64), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("author", String(_NAME), nullable=False),
    Column("text", Text, nullable=False),
    **_OPTIONS,
)
"""What people and tasks said of a task; the key makes a comment that is told twice one."""

epochs = Table(
    "epochs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("broker", ascii_text(64), nullable=False, unique=True),
    Column("began_at", Moment, nullable=False),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("restored_at", Moment),
    Column("claimed_by", String(_NAME)),
    Column("claimed_until", Double),
    **_OPTIONS,
)
"""The brokers that this ledger has followed, by the creation of their stream of records, and how far.

`restored_at` is when all that an earlier one held was brought into it; `claimed_by` and `claimed_until` (Unix
seconds) say who is at it.
"""

joins = Table(
    "joins",
    metadata,
    Column("id", ascii_text(_ID), primary_key=True),
    Column("callback", ascii_text(_ID), nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("definition", long_text(), nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Index("joins_callback", "callback"),
    Index("joins_opened_at", "opened_at"),
    **_OPTIONS,
)
"""Joins as their parents' commits opened them; who arrived is in the rows of the members."""

configuration = Table(
    "configuration",
    metadata,
    Column("name", ascii_text(255), primary_key=True),
    Column("value", long_bytes(), nullable=False),
    **_OPTIONS,
)
"""What people set in the broker's bucket `config`: the tasks file that holds, and schedules that are paused."""

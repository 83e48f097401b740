"""What tasks are looked for by: also having no owner, no parent and so on; reasons by state; traits of all else."""

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from alembic import op

from natsume.core.said import fitted
from natsume.core.traits import labelled, traits

revision = "0004"
down_revision = "0003"

ANEW: Final = ("owner", "tenant", "worker", "parent", "root", "join_id", "reason", "actor", "state")
NAMES: Final = ("actor", "owner", "tenant", "parent", "root", "join_id", "reason", "worker")
PAGE: Final = 1000


def upgrade() -> None:
    """Make these indexes anew; MariaDB commits each by itself, so that one may be gone, or a column there, already."""
    found = sa.inspect(op.get_bind())
    there = {one["name"] for one in found.get_indexes("tasks")}
    for name in ANEW:
        if f"tasks_{name}" in there:
            op.drop_index(f"tasks_{name}", "tasks")
    has = {one["name"] for one in found.get_columns("tasks")}
    for name in sorted({"traits", "label_traits"} - has):
        op.add_column("tasks", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    _fill(op.get_bind())
    for name in ANEW:
        first = [name] if name != "state" else []
        more = ["owner"] if name == "tenant" else []
        columns = [*first, "state", "enqueued_at", "id", "traits", "label_traits", *more]
        op.create_index(f"tasks_{name}", "tasks", columns, unique=False)


def _fill(connection: sa.Connection) -> None:
    names = ("id", *NAMES, "labels")
    tasks = sa.table("tasks", *(sa.column(name) for name in (*names, "traits", "label_traits")))
    wanted = sa.select(*(tasks.c[name] for name in names)).order_by(tasks.c.id).limit(PAGE)
    has: dict[str, Any] = {"traits": sa.bindparam("has_traits"), "label_traits": sa.bindparam("has_label_traits")}
    change = sa.update(tasks).where(tasks.c.id == sa.bindparam("of")).values(has)
    last = ""
    while found := connection.execute(wanted.where(tasks.c.id > last)).mappings().all():
        connection.execute(change, [_traits(row) for row in found])
        last = found[-1]["id"]


def _traits(row: Any) -> dict[str, Any]:
    bits = 0
    for name, value in msgspec.json.decode(row["labels"] or "{}", type=dict[str, str]).items():
        bits |= labelled(fitted(name), fitted(value))
    return {"of": row["id"], "has_traits": traits(row), "has_label_traits": bits}

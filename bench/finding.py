"""What a page of the ledger costs among a million tasks: each filter, alone and in pairs, of operators and others."""

import json
import re
import statistics
import time
from typing import Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.filling import fill
from bench.ledger import database
from natsume.adapters.nats.embedded import EmbeddedServer
from natsume.adapters.sql import migrating
from natsume.adapters.sql.engine import engine_of
from natsume.adapters.sql.reading import SqlReading
from natsume.core.rights import OPERATOR, Who
from natsume.model.ledger import Filter
from natsume.model.task import State
from natsume.settings import Settings

ROWS = 1_000_000
ASKED = 15
_START: Final = 1793491200.0
_MIDDLE: Final = _START + ROWS / 2
_OPEN: Final = (State.ENQUEUED, State.WAITING, State.RUNNING)
_SPAN: Final = {"enqueued_after": _MIDDLE, "enqueued_before": _MIDDLE + 100}

SINGLE: Final = {
    "all": Filter(),
    "token": Filter(ids=(f"{7:032x}", f"{8:032x}")),
    "wild_token": Filter(ids=("*abcd*",)),
    "state": Filter(states=(State.FAILED,)),
    "rare_state": Filter(states=(State.RUNNING,)),
    "open": Filter(states=_OPEN),
    "actor": Filter(actors=("g:A7",)),
    "wild_actor": Filter(actors=("*A7",)),
    "no_such_actor": Filter(actors=("g:None",)),
    "owner": Filter(owners=("owner7",)),
    "no_owner": Filter(owners=()),
    "wild_owner": Filter(owners=("owner7*",)),
    "wild_nobody": Filter(owners=("*nobody*",)),
    "tenant": Filter(tenants=("vo3",)),
    "no_tenant": Filter(tenants=()),
    "worker": Filter(workers=("worker7",)),
    "no_worker": Filter(workers=()),
    "wild_worker": Filter(workers=("*er7",)),
    "parent": Filter(parents=("p16",)),
    "no_parent": Filter(parents=()),
    "root": Filter(roots=("r16",)),
    "no_root": Filter(roots=()),
    "join": Filter(joins=("j16",)),
    "no_join": Filter(joins=()),
    "reason": Filter(reasons=("exhausted",)),
    "rare_reason": Filter(reasons=("crashed",)),
    "no_reason": Filter(reasons=()),
    "rare_label": Filter(labels={"batch": "7"}),
    "common_label": Filter(labels={"kind": "even"}),
    "no_such_label": Filter(labels={"batch": "none"}),
    "enqueued": Filter(**_SPAN),
    "enqueued_before": Filter(enqueued_before=_START + 1000),
    "started": Filter(started_after=_MIDDLE, started_before=_MIDDLE + 100),
    "started_after": Filter(started_after=_MIDDLE),
    "started_before": Filter(started_before=_START + 1000),
    "finished": Filter(finished_after=_MIDDLE, finished_before=_MIDDLE + 100),
    "finished_after": Filter(finished_after=_START + ROWS),
    "finished_before": Filter(finished_before=_START + 1000),
    "heartbeat": Filter(heartbeat_after=_MIDDLE, heartbeat_before=_MIDDLE + 100),
    "heartbeat_after": Filter(heartbeat_after=_START + ROWS),
    "heartbeat_before": Filter(heartbeat_before=_START + 100),
    "consumed": Filter(consumed=True),
    "not_consumed": Filter(consumed=False),
    "cancel_requested": Filter(cancel_requested=True),
    "not_cancel_requested": Filter(cancel_requested=False),
}
"""Every field of the filter, common and rare, with names and without, and in patterns."""

PAIRS: Final = {
    "owner_and_state": Filter(owners=("owner7",), states=(State.FAILED,)),
    "owner_and_open": Filter(owners=("owner7",), states=_OPEN),
    "owner_and_actor": Filter(owners=("owner7",), actors=("g:A7",)),
    "owner_and_no_such_actor": Filter(owners=("owner7",), actors=("g:None",)),
    "owner_and_not_consumed": Filter(owners=("owner7",), consumed=False),
    "owner_and_label": Filter(owners=("owner7",), labels={"batch": "7"}),
    "two_tenants_and_state": Filter(tenants=("vo1", "vo2"), states=(State.FAILED,)),
    "tenant_and_actor": Filter(tenants=("vo7",), actors=("g:A7",)),
    "tenant_and_actor_of_others": Filter(tenants=("vo3",), actors=("g:A7",)),
    "tenant_and_finished": Filter(tenants=("vo3",), finished_after=_MIDDLE, finished_before=_MIDDLE + 100),
    "tenant_and_reason": Filter(tenants=("vo0",), reasons=("exhausted",)),
    "actor_and_state": Filter(actors=("g:A7",), states=(State.FAILED,)),
    "actor_and_reason": Filter(actors=("g:A0",), reasons=("crashed",)),
    "actor_and_enqueued": Filter(actors=("g:A7",), **_SPAN),
    "actor_and_worker": Filter(actors=("g:A7",), workers=("worker7",)),
    "actor_and_label": Filter(actors=("g:A8",), labels={"kind": "even"}),
    "state_and_label": Filter(states=(State.FAILED,), labels={"kind": "even"}),
    "state_and_started": Filter(states=(State.RUNNING,), started_before=_MIDDLE),
    "state_and_finished": Filter(states=(State.FAILED,), finished_after=_MIDDLE, finished_before=_MIDDLE + 1000),
    "running_and_silent": Filter(states=(State.RUNNING,), heartbeat_before=_MIDDLE),
    "worker_and_running": Filter(workers=("worker7",), states=(State.RUNNING,)),
    "reason_and_enqueued": Filter(reasons=("exhausted",), **_SPAN),
    "parent_and_state": Filter(parents=("p16",), states=(State.FAILED,)),
    "join_and_open": Filter(joins=("j16",), states=_OPEN),
    "cancelled_and_open": Filter(cancel_requested=True, states=_OPEN),
    "state_and_not_consumed": Filter(states=(State.FAILED,), consumed=False),
    "enqueued_and_finished": Filter(**_SPAN, finished_after=_MIDDLE + 300),
}
AS_USER: Final = Who("owner7", ("vo3", "vo4"))
"""Sees some 100,000 of them: asked besides, in whose name a filter is not the operator's."""


async def finding_sqlite(_: EmbeddedServer) -> dict[str, float]:
    """Milliseconds of a page of 100 out of 1,000,000, by filter, in SQLite."""
    return await _finding("sqlite")


async def finding_mariadb(_: EmbeddedServer) -> dict[str, float]:
    """The same in MariaDB."""
    return await _finding("mariadb")


async def _finding(kind: str) -> dict[str, float]:
    found = {}
    with database(kind) as url:
        engine = engine_of(Settings(database_url=url))
        await migrating.migrate(engine)
        await fill(engine, ROWS)
        reading, statements = SqlReading(engine), _Statements(engine)
        asked = [(name, wanted, OPERATOR) for name, wanted in (SINGLE | PAIRS).items()]
        asked += [(f"{name}_as_user", wanted, AS_USER) for name, wanted in (SINGLE | PAIRS).items()]
        for name, wanted, who in asked:
            times = []
            for _ in range(ASKED):
                statements.latest.clear()
                began = time.perf_counter()
                rows = await reading.find(wanted, 100, None, who)
                times.append(time.perf_counter() - began)
            found[name] = statistics.median(times) * 1000
            print(f"  {kind} {name}: {found[name]:.1f} ms, {len(rows)} rows, by {await statements.plan()}")
        await engine.dispose()
    return found


class _Statements:
    """What was asked of the database for the latest question, and the indexes by which it was answered."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.latest: list[tuple[str, object]] = []
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *said: self.latest.append((said[2], said[3])))

    async def plan(self) -> str:
        """The indexes; WHOLE for a table that is read as a whole."""
        said: list[str] = []
        async with self._engine.connect() as connection:
            for sql, values in [one for one in self.latest if one[0].lstrip()[:6] in {"SELECT", "WITH R"}]:
                if connection.dialect.name == "sqlite":
                    steps = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)).all()
                    said += [_sqlite(step[3]) for step in steps]
                else:
                    (plan,) = (await connection.exec_driver_sql(f"EXPLAIN FORMAT=JSON {sql}", values)).scalars()
                    said += _mariadb(json.loads(plan))
        return ", ".join(sorted({one for one in said if one}))


def _sqlite(step: str) -> str:
    index = re.match(r"(?:SEARCH|SCAN) (tasks|labels)(?:_\w+)?(?: USING (?:COVERING )?INDEX (\S+))?", step)
    if index is None:
        return ""
    return f"WHOLE {step}" if step.startswith("SCAN") else index[2] or f"{index[1]} primary"


def _mariadb(plan: object) -> list[str]:
    if isinstance(plan, list):
        return [one for part in plan for one in _mariadb(part)]
    if not isinstance(plan, dict):
        return []
    inner = [one for part in plan.values() for one in _mariadb(part)]
    if not str(plan.get("table_name")).startswith(("tasks", "labels")):
        return inner
    return [*inner, f"{'WHOLE ' * (plan['access_type'] in {'ALL', 'index'})}{plan.get('key', plan['table_name'])}"]

"""The status API over HTTP: each request of each caller, and that those who may not see learn nothing."""

import asyncio
import json
from dataclasses import dataclass
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi import ask
from natsume import BaseTask, Who
from natsume.exceptions import LedgerError
from natsume.model import limits
from natsume.testing import task_done, until
from natsume.web import status_api
from natsume.web.answers import Tasks, Told
from natsume.web.questions import Listing

WHOS = {
    "ada": Who("ada"),
    "bob": Who("bob"),
    "eve": Who("eve", ("lhcb",)),
    "root": Who("root", operator=True),
}


@dataclass
class Noop(BaseTask):
    number: int

    async def execute(self) -> int:
        return self.number


class Dead(BaseTask):
    dlq_eligible = True
    replay_by = "owner"
    cancel_by = "owner"

    async def execute(self) -> None:
        raise ValueError("no")


@pytest.fixture
def natsume_registry():
    return {"w:Noop": Noop, "w:Dead": Dead}


@pytest.fixture
def app(natsume_client):
    async def authorize(request):
        return WHOS.get(request.headers.get("x-user", ""))

    return Starlette(routes=[Mount("/natsume", status_api(lambda: natsume_client, authorize))])


@pytest.fixture
async def web(app, natsume_conductor, engine):
    async def call(method, url, user="root", body=b""):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await ask(app, method, f"/natsume{url}", body, **({"x_user": user} if user else {}))

    return call


@pytest.fixture
def done(natsume_client, natsume_worker, rows):
    async def run(task, **given):
        token = await natsume_client.submit(task, **given)
        await task_done(natsume_client, token)
        await until(rows, lambda found: found.get(token, {}).get("finished_at"))
        return token

    return run


async def test_a_task_is_told_to_its_owner_whole(web, done):
    token = await done(Noop(5), owner="ada", tenant="lhcb", labels={"a": "b"})
    answer = await web("GET", f"/tasks/{token}", "ada")
    told = msgspec.json.decode(answer.body, type=Told)
    assert (answer.status, told.id, told.state, told.result, told.owner, told.labels, told.consumed) == (
        200,
        token,
        "COMPLETED",
        5,
        "ada",
        {"a": "b"},
        True,
    )
    assert (await web("GET", f"/tasks/{token}", "eve")).json["state"] == "COMPLETED"


async def test_who_is_not_known_is_refused_before_anything_is_asked(app, natsume_client, monkeypatch):
    monkeypatch.setattr(natsume_client.ledger, "_known", None)
    requests = [("GET", "/tasks"), ("GET", "/tasks/x"), ("GET", "/tasks/x/end"), ("POST", "/tasks/x/cancel")]
    for method, path in [*requests, ("POST", "/tasks/x/replay"), ("POST", "/tasks/x/comments")]:
        answer = await ask(app, method, f"/natsume{path}")
        assert (answer.status, answer.json) == (401, {"error": "say who you are"})


async def test_a_foreign_token_and_an_unknown_one_are_answered_alike(web, done, natsume_client):
    tokens = [
        await done(Noop(5), owner="ada", tenant="lhcb"),
        await done(Dead(), owner="ada"),
        await natsume_client.submit(Noop(1), owner="ada", delay=3600),
        "0" * 32,
        "no.token",
    ]
    for method, path, body in (
        ("GET", "", b""),
        ("GET", "/end?timeout_s=0", b""),
        ("POST", "/cancel", {"why": "x"}),
        ("POST", "/replay", {}),
        ("POST", "/comments", {"text": "x"}),
    ):
        answers = {str(await web(method, f"/tasks/{one}{path}", "bob", body)) for one in tokens}
        assert len(answers) == 1
        assert "there is no such task" in answers.pop()


async def test_a_list_has_only_what_one_may_see_page_by_page(web, done):
    mine = [await done(Noop(n), owner="ada") for n in range(3)]
    theirs = await done(Noop(9), owner="bob", tenant="lhcb")

    async def listed(user, query="?limit=2"):
        tokens, after = [], ""
        while True:
            page = msgspec.json.decode((await web("GET", f"/tasks{query}{after}", user)).body, type=Tasks)
            tokens += [one.id for one in page.tasks]
            if page.next is None:
                return tokens
            after = f"&after={quote(page.next)}"

    assert await listed("ada") == mine[::-1]
    assert await listed("eve") == [theirs]
    assert await listed("root") == [theirs, *mine[::-1]]
    assert await listed("root", "?limit=2&owner=ad*&actor=w:Noop&state=COMPLETED&state=FAILED") == mine[::-1]
    assert await listed("root", "?limit=2&tenant=") == mine[::-1]
    labelled = await done(Noop(4), owner="bob", labels={"run": "7=8", "x": "y"})
    assert await listed("bob", "?limit=2&label=run=7%3D8&label=x=y") == [labelled]
    assert await listed("bob", "?limit=2&label=run=8") == []
    assert await listed("root", "?limit=2&consumed=true") == []
    assert await listed("root", "?limit=2&finished_after=2100-01-01T00:00:00Z") == []


async def test_an_end_is_awaited_by_its_record(web, natsume_client, natsume_start_worker):
    token = await natsume_client.submit(Noop(1), owner="ada")
    assert (await web("GET", f"/tasks/{token}/end?timeout_s=0", "ada")).json["state"] == "ENQUEUED"
    waiting = asyncio.create_task(web("GET", f"/tasks/{token}/end?timeout_s=30", "ada"))
    await natsume_start_worker()
    assert (await waiting).json["state"] == "COMPLETED"


async def test_only_so_many_requests_wait_at_a_time(web, natsume_client, monkeypatch):
    monkeypatch.setattr(limits, "WEB_WAITING_MAX", 0)
    token = await natsume_client.submit(Noop(1), owner="ada")
    answer = await web("GET", f"/tasks/{token}/end", "ada")
    assert (answer.status, answer.json) == (503, {"error": "too many requests wait; ask again later"})


async def test_cancel_and_replay_by_rights(web, done, natsume_client):
    narrow, wide = [await natsume_client.submit(one, owner="ada", delay=3600) for one in (Noop(1), Dead())]
    answer = await web("POST", f"/tasks/{narrow}/cancel", "ada")
    assert (answer.status, "ada may not cancel" in answer.json["error"]) == (403, True)
    said = [(await web("POST", f"/tasks/{wide}/cancel", "ada", {"why": "late"})).json for _ in range(2)]
    assert said == [{"cancelled": True}, {"cancelled": False}]
    assert (await web("GET", f"/tasks/{wide}", "ada")).json["cancel"]["text"] == "late"
    letter, plain = await done(Dead(), owner="ada"), await done(Noop(1), owner="ada")
    replay = (await web("POST", f"/tasks/{letter}/replay", "ada", {"why": "again"})).json["token"]
    assert (await natsume_client.status(replay)).owner == "ada"
    assert (await web("POST", f"/tasks/{plain}/replay", "root")).json == {"error": "this task is no dead letter"}


async def test_a_comment_is_told(web, natsume_client):
    token = await natsume_client.submit(Noop(1), owner="ada", tenant="lhcb", delay=3600)
    assert (await web("POST", f"/tasks/{token}/comments", "eve", {"text": "soon"})).status == 204
    said = (await web("GET", f"/tasks/{token}", "ada")).json["comments"]
    assert [(one["author"], one["text"]) for one in said] == [("eve", "soon")]


@pytest.mark.parametrize(
    ("method", "url", "body", "status", "said"),
    [
        ("GET", "/tasks?limit=0", b"", 400, "limit"),
        ("GET", "/tasks?limit=1001", b"", 400, "limit"),
        ("GET", "/tasks?limit=1&limit=2", b"", 400, "given twice"),
        ("GET", "/tasks?label=x", b"", 400, "name=value"),
        ("GET", "/tasks?label=x=1&label=x=2", b"", 400, "two values"),
        ("GET", "/tasks?nothing=1", b"", 400, "unknown field `nothing`"),
        ("GET", "/tasks?state=GONE", b"", 400, "GONE"),
        ("GET", "/tasks?after=x", b"", 400, "not what `next`"),
        ("GET", "/tasks?finished_after=2026-11-21T06:00:00", b"", 400, "timezone"),
        ("GET", "/tasks?consumed=perhaps", b"", 400, "bool"),
        ("GET", "/tasks?owner=" + "a" * 1025, b"", 400, "1024"),
        ("GET", "/tasks?" + "&".join(["id=a"] * 101), b"", 400, "100"),
        ("GET", "/tasks?owner=" + "a" * 16_400, b"", 400, "16384"),
        ("GET", "/tasks?owner=%ff", b"", 400, "UTF-8"),
        ("GET", "/tasks/x/end?timeout_s=61", b"", 400, "60"),
        ("GET", "/tasks/x/end?timeout_s=nan", b"", 400, "timeout_s"),
        ("POST", "/tasks/x/cancel", b"[", 400, "no such object"),
        ("POST", "/tasks/x/cancel", b'{"x":1}', 400, "unknown field `x`"),
        ("POST", "/tasks/x/cancel", b"[" * 10_000, 400, "no such object"),
        ("POST", "/tasks/x/comments", b"{}", 400, "text"),
        ("POST", "/tasks/x/comments", b" " * 16_385, 413, "16384"),
        ("PUT", "/tasks/x", b"", 405, "Method Not Allowed"),
        ("GET", "/nothing", b"", 404, "Not Found"),
    ],
)
async def test_what_is_refused(web, method, url, body, status, said):
    answer = await web(method, url, "root", body)
    assert (answer.status, answer.headers["content-type"], said in answer.json["error"]) == (
        status,
        "application/json",
        True,
    ), answer


async def test_an_error_of_the_database_is_told_to_no_caller(web, natsume_client, monkeypatch, caplog):
    async def down(*_):
        raise LedgerError("the ledger's database says: access denied for user 'natsume'@'db7'")

    monkeypatch.setattr(natsume_client.ledger._reading, "find", down)
    answer = await web("GET", "/tasks")
    assert (answer.status, answer.json) == (503, {"error": "the ledger cannot be asked now; try again"})


async def test_the_document_describes_each_request(app, web):
    document = (await web("GET", "/openapi.json", None)).json
    routes = {(route.path, method) for route in app.routes[0].routes for method in route.methods - {"HEAD"}}
    described = {(path, method.upper()) for path, ways in document["paths"].items() for method in ways}
    assert described == routes - {("/openapi.json", "GET")}
    assert document["servers"] == [{"url": "/natsume"}]
    named = [one["name"] for one in document["paths"]["/tasks"]["get"]["parameters"]]
    assert named == list(Listing.__struct_fields__)
    text = json.dumps(document)
    targets = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert targets <= set(document["components"]["schemas"])


async def test_no_query_breaks_it(web, done):
    await done(Noop(1), owner="ada")
    loop = asyncio.get_running_loop()
    names = st.sampled_from([*Listing.__struct_fields__, "x"])
    values = st.text(max_size=12) | st.sampled_from(["'", "*", "%", "", "FAILED", "2026-11-21T06:00:00Z", "true", "1"])
    queries = st.lists(st.tuples(names, values), max_size=3)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(queries, st.sampled_from(["bob", "ada"]))
    def search(query, user):
        text = "&".join(f"{name}={quote(value, errors='replace')}" for name, value in query)
        answer = asyncio.run_coroutine_threadsafe(web("GET", f"/tasks?{text}", user), loop).result(30)
        assert answer.status in {200, 400}
        if answer.status == 200:
            owners = {one.owner for one in msgspec.json.decode(answer.body, type=Tasks).tasks}
            assert owners <= {user}

    await asyncio.to_thread(search)

"""The OpenAPI document of the API, made from the very structs that read requests and write answers."""

from importlib.metadata import version
from typing import Any, Final

import msgspec

from natsume.web.answers import Cancelled, Refused, Replayed, Tasks, Told
from natsume.web.questions import Cancel, Listing, Remark, Replay, Waiting

_KINDS: Final = (Listing, Waiting, Cancel, Replay, Remark, Tasks, Told, Cancelled, Replayed, Refused)
_REFUSALS: Final = {
    "400": "The request cannot be: the sentence says what is wrong.",
    "401": "It is not known who asks.",
    "403": "They may see the task, and may not do this with it.",
    "404": "There is no such task, or none that they may see.",
    "413": "The body is too large.",
    "503": "The broker or the ledger cannot be asked now.",
}
_TOKEN: Final = {"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}


def document(prefix: str) -> dict[str, Any]:
    """The document, of an application that is mounted under this path."""
    _, schemas = msgspec.json.schema_components(_KINDS, ref_template="#/components/schemas/{name}")
    parameters = {kind: [*_parameters(schemas.pop(kind.__name__))] for kind in (Listing, Waiting)}
    token = [_TOKEN]
    paths = {
        "/tasks": {"get": _operation("List tasks, newest first", Tasks, "400 401 503", parameters[Listing])},
        "/tasks/{token}": {"get": _operation("Tell of one task", Told, "401 404 503", token)},
        "/tasks/{token}/end": {
            "get": _operation("Wait for a task's end", Told, "400 401 404 503", [*token, *parameters[Waiting]])
        },
        "/tasks/{token}/cancel": {
            "post": _operation("Cancel a task", Cancelled, "400 401 403 404 413 503", token, Cancel)
        },
        "/tasks/{token}/replay": {
            "post": _operation("Run a dead letter again", Replayed, "400 401 403 404 413 503", token, Replay)
        },
        "/tasks/{token}/comments": {
            "post": _operation("Comment on a task", None, "400 401 404 413 503", token, Remark)
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Natsume: what became of tasks", "version": version("natsume")},
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": given}
        | ({"description": text} if (text := given.pop("description", None)) else {})
        for name, given in schema["properties"].items()
    ]


def _operation(
    summary: str, answer: type | None, refusals: str, parameters: list[dict[str, Any]], body: type | None = None
) -> dict[str, Any]:
    done = {"204": {"description": "Done."}} if answer is None else {"200": {"description": summary} | _content(answer)}
    refused = {code: {"description": _REFUSALS[code]} | _content(Refused) for code in refusals.split()}
    operation = {"summary": summary, "parameters": parameters, "responses": {**done, **refused}}
    return operation | ({"requestBody": _content(body)} if body is not None else {})


def _content(kind: type) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}}

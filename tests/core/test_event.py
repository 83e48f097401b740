"""Events as values: their types and patterns, their headers, the ids of their tasks."""

from dataclasses import dataclass

import msgspec
import pytest

from natsume import BaseTask, Event, UsageError
from natsume.actors.registry import Registry
from natsume.core.dispatch import may_be_known, task_id
from natsume.model.event import Envelope, covers, event_headers, is_pattern, is_type, meet, read_event, without_covered
from natsume.model.task import Fault, Reason
from natsume.runtime.dispatcher import arguments_of
from natsume.service.publishing import event_of

TYPES = ["a", "b", "a.b", "a.c", "b.b", "a.b.c", "a.b.c.d", "b.b.c"]
PATTERNS = ["a", "*", "a.b", "a.*", "*.b", "*.*", "a.>", "*.>", ">", "a.*.c", "*.b.c", "a.*.>", "a.b.*"]


def takes(pattern: str, event: str) -> bool:
    return covers(pattern, event)


@pytest.mark.parametrize("one", PATTERNS)
@pytest.mark.parametrize("other", PATTERNS)
def test_patterns_cover_and_meet_as_their_events_say(one, other):
    ours, theirs = ({event for event in TYPES if takes(pattern, event)} for pattern in (one, other))
    assert meet(one, other) == meet(other, one) == bool(ours & theirs)
    if covers(one, other):
        assert ours >= theirs
    assert covers(one, one)


@pytest.mark.parametrize(
    ("pattern", "event", "taken"),
    [
        ("job.*.failed", "job.7.failed", True),
        ("job.*.failed", "job.failed", False),
        ("job.>", "job", False),
        ("job.>", "job.a.b", True),
        (">", "job", True),
        ("*", "job.a", False),
    ],
)
def test_a_pattern_takes_what_the_server_would_send(pattern, event, taken):
    assert takes(pattern, event) is taken


def test_only_the_widest_patterns_are_filters():
    assert without_covered(("job.submitted", "job.*", "job.*", "x")) == ("job.*", "x")


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "ü", "a" * 201])
def test_what_is_no_type_is_refused(text):
    assert not is_type(text)
    with pytest.raises(UsageError, match="is no type of an event"):
        event_of(text, {}, None, None, 0)


@pytest.mark.parametrize("text", ["", "a.>.b", "a>", "*a", "a.", "a b"])
def test_what_is_no_pattern_is_refused(text):
    assert not is_pattern(text)


@pytest.mark.parametrize("wrong", [{"id": "a\nb"}, {"id": " "}, {"source": "x" * 2000}, {"data": object()}])
def test_what_cannot_travel_is_refused(wrong):
    given = {"data": {}, "id": None, "source": None} | wrong
    with pytest.raises(UsageError):
        event_of("job.submitted", given["data"], given["id"], given["source"], 0)


def test_what_is_written_is_read():
    headers = event_headers("7", "job.submitted", 1.5, "shop", resent=True)
    event = read_event("job.submitted", "derived", 9.0, b"NATS/1.0\r\n%b\r\n" % headers, b'{"a": 1}')
    assert event == Envelope("job.submitted", "7", b'{"a": 1}', 1.5, "shop", None, True)
    assert (event.event.data, event.event.time.timestamp()) == ({"a": 1}, 1.5)


@pytest.mark.parametrize("headers", [None, b"NATS/1.0\r\nce-id: \r\nce-time: soon\r\ntraceparent: \x01\r\n\r\n"])
def test_what_no_header_says_comes_from_the_stream(headers):
    assert read_event("a", "derived", 9.0, headers, b"") == Envelope("a", "derived", b"", 9.0)


def test_a_task_follows_from_the_event_and_the_actor():
    ids = {task_id(event, one, actor) for event in ("a", "b") for one in ("1", "2") for actor in ("x:A", "x:B")}
    assert len(ids) == 8
    assert task_id("a", "1", "x:A") in ids


@pytest.mark.parametrize(
    ("sequence", "alone", "resent", "suspect_to", "known"),
    [(5, True, False, 4, False), (5, True, False, 5, True), (5, False, False, 0, True), (5, True, True, 0, True)],
)
def test_what_may_have_been_submitted_is_looked_up(sequence, alone, resent, suspect_to, known):
    assert may_be_known(sequence, alone, resent, suspect_to=suspect_to) is known


@dataclass
class ByName(BaseTask):
    events = ("job.submitted",)
    job_id: int
    note: str = ""

    async def execute(self):
        pass


@dataclass
class FromEvent(BaseTask):
    events = ("job.*.failed",)
    what: str

    @classmethod
    def from_event(cls, event: Event):
        if event.data == "other":
            return ByName(1)
        return None if event.data == "declined" else cls(event.type.split(".")[1] + event.data["why"])

    async def execute(self):
        pass


@dataclass
class WithField(BaseTask):
    events: str = "mine"

    async def execute(self):
        pass


REGISTRY = Registry.of_classes({"t:ByName": ByName, "t:FromEvent": FromEvent, "t:WithField": WithField})


@pytest.mark.parametrize(
    ("actor", "data", "made"),
    [
        ("ByName", b'{"job_id": 7, "by": "ada"}', b'{"job_id":7}'),
        ("ByName", b'{"job_id": 7, "note": "n"}', b'{"job_id":7,"note":"n"}'),
        ("ByName", b'{"job_id": "x"}', Reason.INVALID_ARGUMENTS),
        ("ByName", b"", Reason.INVALID_ARGUMENTS),
        ("ByName", b"[1]", Reason.UNPARSABLE),
        ("ByName", b"{", Reason.UNPARSABLE),
        ("FromEvent", b'{"why": "late"}', b'{"what":"7late"}'),
        ("FromEvent", b'"declined"', None),
        ("FromEvent", b'"other"', Reason.INVALID_ARGUMENTS),
        ("FromEvent", b"{}", Reason.INVALID_ARGUMENTS),
        ("FromEvent", b"\xff", Reason.UNPARSABLE),
    ],
)
def test_an_event_becomes_arguments_or_a_fault(actor, data, made):
    found = arguments_of(REGISTRY.find(actor), Envelope("job.7.failed", "1", data, 0.0))
    if isinstance(made, bytes):
        assert msgspec.json.decode(found) == msgspec.json.decode(made) | (
            {"note": ""} if actor == "ByName" and b"note" in found and b"note" not in made else {}
        )
    else:
        assert (found.reason if isinstance(found, Fault) else found) == made


def test_a_field_called_events_declares_nothing():
    assert REGISTRY.find("WithField").events == ()


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"events": "job.submitted"}, "set it to a tuple"),
        ({"events": ("job..x",)}, "write a type such as job.submitted"),
        ({"events": ("a.*.c", "a.b.*")}, "take some event both"),
        ({"events": ("a",), "events_from": "yesterday"}, 'set it to "now" or "beginning"'),
        ({"events": ("a",), "from_event": lambda event: None}, "define it with @classmethod"),
    ],
)
def test_a_wrong_declaration_is_told(declared, sentence):
    wrong = type("Wrong", (ByName,), declared)
    with pytest.raises(UsageError, match=sentence.replace("*", r"\*")):
        Registry.of_classes({"t:Wrong": wrong})

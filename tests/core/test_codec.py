"""What is written is read back; whatever bytes arrive are an envelope, never an exception."""

import re

from hypothesis import given
from hypothesis import strategies as some

from natsume.model import codec, limits
from natsume.model.subject import LANES, ready
from natsume.model.task import Reason, Task

ids = some.text("abcXYZ019-_=", min_size=1, max_size=limits.ID_MAX)
texts = some.text(some.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=64).map(
    lambda text: f"<{text}>"
)
counts = some.integers(0, limits.ATTEMPT_MAX)
lanes = some.sampled_from(LANES)
tasks = some.builds(
    Task,
    id=ids,
    actor=some.just("app:Fit"),
    lane=lanes,
    body=some.binary(max_size=64),
    attempt=some.integers(1, limits.ATTEMPT_MAX),
    hop=some.integers(1, limits.ATTEMPT_MAX),
    waits=counts,
    offers=counts,
    submitted_at=some.none() | some.integers(0, 4_000_000_000).map(float),
    tracked=some.booleans(),
    owner=some.none() | texts,
    tenant=some.none() | texts | some.just("日本 ÄÖ"),
    parent=some.none() | ids,
    root=some.none() | ids,
    join=some.none() | ids,
    trace=some.none() | texts,
    labels=some.none() | some.dictionaries(some.text(max_size=8), some.text(max_size=8), min_size=1, max_size=8),
)


def message(lines: bytes) -> bytes:
    return b"NATS/1.0\r\n" + lines + b"\r\n"


def read(headers: bytes | None, body: bytes = b"{}") -> codec.Envelope:
    return codec.decode(LANES[0], "app:Fit", "derived", headers, body)


@given(tasks, some.booleans())
def test_what_is_written_is_read(task: Task, resent: bool) -> None:
    headers = message(codec.task_headers(task, resent=resent))
    assert len(headers) <= limits.HEADERS_MAX
    envelope = codec.decode(task.lane, task.actor, "derived", headers, task.body)
    assert envelope == codec.Envelope(task, None, resent, fired=False)


plain = some.builds(
    Task,
    id=ids | some.text(max_size=3),
    actor=some.just("app:Fit"),
    lane=some.just(LANES[0]),
    body=some.just(b"{}"),
    submitted_at=some.just(1.0) | some.floats(0, 1e9),
    tracked=some.booleans(),
    attempt=some.integers(1, 2),
)
stamps = some.sampled_from([b"", b"2026-11-21T10:00:00.5Z", b"9999-99-99T99:99:99.999Z", b"20260101T00:00:00.00000000"])


@given(plain, some.booleans(), some.none() | stamps)
def test_what_most_messages_are_like_is_read_as_any_other(task: Task, resent: bool, stamp: bytes | None) -> None:
    lines = codec.task_headers(task, resent=resent)
    if stamp is not None:
        lines = re.sub(rb"ce-time: [^\r]*", b"ce-time: " + stamp, lines)
    headers = message(b"Nats-Msg-Id: x\r\n" + lines)
    assert read(headers) == read(headers.replace(b"ce-id", b"CE-ID"))


@given(some.none() | some.binary(max_size=512))
def test_any_headers_are_an_envelope(headers: bytes | None) -> None:
    envelope = read(headers)
    assert envelope.fault is None or envelope.fault.reason is Reason.UNPARSABLE


@given(some.sampled_from(sorted(codec._READERS)), some.binary(max_size=200))
def test_any_value_of_a_header_is_an_envelope(name: bytes, value: bytes) -> None:
    envelope = read(message(b"%b: %b\r\n" % (name, value)))
    assert envelope.fault is None or envelope.fault.reason is Reason.UNPARSABLE
    assert codec.task_headers(envelope.task), "what was read can be written again"


def test_a_body_alone_is_a_task() -> None:
    assert read(None, b"[1]") == codec.Envelope(Task("derived", "app:Fit", LANES[0], b"[1]"))


def test_names_are_read_without_case_and_unknown_ones_are_left_alone() -> None:
    envelope = read(message(b"CE-ID: mine\r\nNATSUME-ATTEMPT: 3\r\nX-Colour: red\r\n"))
    assert (envelope.task.id, envelope.task.attempt, envelope.fault) == ("mine", 3, None)


def test_a_bad_header_keeps_the_id_that_was_read_before_it() -> None:
    envelope = read(message(b"ce-id: mine\r\nNatsume-Hop: many\r\n"))
    assert envelope.task.id == "mine"
    assert envelope.fault is not None
    assert envelope.fault.sentence == "natsume-hop must be a number up to 9999999"


def test_a_newer_schema_says_what_is_needed() -> None:
    envelope = read(message(b"Natsume-Schema: 2\r\n"))
    assert envelope.fault is not None
    assert "newer worker" in envelope.fault.sentence


def test_too_many_headers_are_not_read() -> None:
    envelope = read(message(b"X: %b\r\n" % (b"x" * limits.HEADERS_MAX)))
    assert envelope.fault is not None
    assert envelope.task.id == "derived"


def test_a_subject_without_an_actor_is_nobodys() -> None:
    envelope = codec.decode(LANES[0], None, "derived", None, b"")
    assert envelope.fault is not None
    assert envelope.fault.reason is Reason.UNKNOWN_ACTOR


def test_a_task_lies_on_its_lane_under_its_actor() -> None:
    task = Task("t", "app:Fit", LANES[0], b"")
    assert codec.task_subject(task) == ready(LANES[0], "app:Fit")

"""The bounds agree with each other, and with what the server is told."""

import msgspec

from natsume.adapters.nats.topology import files
from natsume.model import limits, times


def config(name: str) -> dict[str, object]:
    return msgspec.json.decode((files() / "streams" / f"{name}.json").read_bytes())


def test_the_largest_task_and_record_fit_their_streams():
    assert config("TASKS")["max_msg_size"] == limits.TASK_MESSAGE_MAX
    assert config("RECORDS")["max_msg_size"] >= limits.RECORD_MAX
    assert config("TASKS")["duplicate_window"] == times.DUPLICATE_WINDOW_S * 1e9


def test_the_largest_done_record_fits():
    failure = limits.MESSAGE_TEXT_MAX + limits.TRACEBACK_MAX
    texts = 6 * limits.HEADER_VALUE_MAX + limits.LABELS_SIZE_MAX + 4096
    success = limits.RESULT_MAX + limits.CHUNK_MAX + limits.ARGUMENTS_MAX + limits.GROUPS_MAX + texts
    assert success < limits.RECORD_MAX
    # Base64 takes a third more; control characters in a failure's texts take six bytes each in JSON.
    letter = limits.TASK_MESSAGE_MAX * 4 / 3 + 2 * limits.HEADERS_MAX + 6 * failure + texts
    assert letter < limits.RECORD_MAX

"""The labels of a task: what people give it to be found by, checked before it goes anywhere."""

from collections.abc import Mapping

import msgspec

from natsume.exceptions import UsageError
from natsume.model import limits


def checked_labels(labels: Mapping[str, str] | None) -> dict[str, str] | None:
    """The labels as a task carries them, None where there are none; UsageError for what cannot be kept."""
    if not labels:
        return None
    strings = isinstance(labels, Mapping) and all(isinstance(part, str) for pair in labels.items() for part in pair)
    if not strings or len(labels) > limits.LABELS_MAX:
        raise UsageError(f"labels are at most {limits.LABELS_MAX} pairs of strings")
    try:
        size = len(msgspec.json.encode(labels))
    except UnicodeEncodeError:
        raise UsageError("a label has half a surrogate pair, which is no text; leave it out") from None
    if size > limits.LABELS_SIZE_MAX:
        raise UsageError(f"the labels take {size} bytes; at most {limits.LABELS_SIZE_MAX} go with a task")
    return dict(labels)

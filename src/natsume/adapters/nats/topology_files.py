"""Where the definitions of streams, consumers and buckets lie, and how they are read."""

import functools
from importlib import resources
from pathlib import Path

import msgspec

from natsume.core.topology_diff import Config, Entity
from natsume.exceptions import UsageError

_DEPTH_OF_PACKAGE = 2  # <repository>/src/natsume


def files() -> Path:
    """The directory with `streams/`, `consumers/`, `buckets/` and the server's configurations."""
    package = Path(str(resources.files("natsume")))
    installed = package / "_nats"
    return installed if installed.is_dir() else package.parents[_DEPTH_OF_PACKAGE - 1] / "nats"


def load(root: Path | None = None) -> list[Entity]:
    """Every stream and bucket, then every consumer, as the files under `root` define them."""
    return list(_load(root or files()))


@functools.cache
def _load(root: Path) -> tuple[Entity, ...]:
    streams = [_read(path) for folder in ("streams", "buckets") for path in sorted((root / folder).glob("*.json"))]
    if not streams:
        raise UsageError(f"no definition of a stream lies in {root / 'streams'}")
    consumers = [_read(path) for path in sorted((root / "consumers").glob("*.json"))]
    return (
        *(Entity("stream", config["name"], config["name"], config) for config in streams),
        *(Entity("consumer", _stream_of(config, streams), config["name"], config) for config in consumers),
    )


def _read(path: Path) -> Config:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Config)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"the definition {path} cannot be read: {error}") from error


def _stream_of(consumer: Config, streams: list[Config]) -> str:
    """The stream whose subjects begin as the consumer's filter does; the file cannot name it."""
    wanted = (consumer.get("filter_subject") or consumer["filter_subjects"][0]).split(".")[0]
    for stream in streams:
        if any(subject.split(".")[0] == wanted for subject in stream["subjects"]):
            return str(stream["name"])
    raise UsageError(f"no stream has the subjects that consumer {consumer['name']} filters")

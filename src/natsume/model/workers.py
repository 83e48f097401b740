"""What a worker says of itself, to whoever asks."""

import msgspec


class ActorWork(msgspec.Struct, frozen=True):
    """What one worker did of one actor since it started; `running` of them run now, the oldest for `oldest_s`."""

    actor: str
    mailbox: str
    consumer: str
    runs: int = 0
    failures: int = 0
    wall_s: float = 0.0
    last_error: str = ""
    running: int = 0
    oldest_s: float = 0.0


class WorkerState(msgspec.Struct, frozen=True):
    """A worker as it is now; `started` is in Unix seconds, `blocked_s` how long its event loop has stood still."""

    id: str
    worker: str
    host: str
    pid: int
    version: str
    size: str
    slots: int
    busy: int
    in_hand: int
    started: float
    stopping: bool = False
    blocked_s: float = 0.0
    actors: tuple[ActorWork, ...] = ()
    actors_known: int = 0

    @property
    def state(self) -> str:
        """One word: `running`, `stopping` or `blocked`."""
        return "blocked" if self.blocked_s else "stopping" if self.stopping else "running"

"""Asking a worker whether one of its runs goes on: a plain request, answered by the process itself (port Presence).

Nothing is stored and nothing expires. A worker answers on both of its connections, so that neither a blocked
loop nor a lost connection of the two makes it look dead; of a killed one the server knows at once that nobody listens.
"""

from collections.abc import Callable
from typing import Final

from natsume.adapters.nats.request import ask
from natsume.adapters.nats.wire import Wire
from natsume.exceptions import Disconnected, NotAcknowledged
from natsume.model import subject
from natsume.model.times import ANSWER_S

_YES: Final = b"yes"
_NO: Final = b"no"


class WirePresence:
    """The workers, over one connection."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def answer(self, worker: str, goes_on: Callable[[str], bool]) -> None:
        """Answer for the worker of this nonce, as long as the connection stands."""

        def reply(_subject: bytes, inbox: bytes, body: bytes, _headers: bytes | None) -> None:
            if inbox:
                self._wire.send(inbox, b"", b"", _YES if goes_on(body.decode("ascii", "replace")) else _NO)

        self._wire.listen(subject.worker(worker), reply)

    async def goes_on(self, nonce: str) -> bool | None:
        """Whether a run has not ended; None if its worker does not answer."""
        losses, worker = self._wire.losses, subject.worker_of(nonce)
        if worker is None:
            return False
        try:
            answer = await ask(self._wire, worker, nonce.encode(), ANSWER_S)
            return None if answer is None else answer == _YES
        except NotAcknowledged:
            if self._wire.losses != losses:
                raise Disconnected("the connection was lost while a worker was asked") from None
            return None

"""The keepalive thread's own connection (its port Lifeline)."""

from natsume.adapters.nats.broker import Broker
from natsume.core.delivery import Delivery


class NatsLifeline:
    """Extends deliveries and renews leases beside the connection that runs tasks."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.leases = broker.leases
        self.records = broker.records

    def extend(self, delivery: Delivery) -> None:
        """Start a delivery's `ack_wait` anew."""
        self._broker.wire.send(delivery.token, b"", b"", b"+WPI")

    def give_back(self, delivery: Delivery) -> None:
        """Have a delivery brought again, now."""
        self._broker.wire.send(delivery.token, b"", b"", b"-NAK")

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.close()

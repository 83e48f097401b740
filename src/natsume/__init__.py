"""Natsume: an event-driven actor system on NATS JetStream."""

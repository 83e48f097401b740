"""The ports over NATS JetStream."""

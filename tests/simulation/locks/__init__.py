"""Locks as they are written to the broker, step by step, over a model of it."""

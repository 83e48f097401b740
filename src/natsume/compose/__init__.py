"""Puts the parts together: the only place that knows the runtime and the adapters at once."""

"""Every decision about a delivery, as pure functions: no clock, no randomness, no I/O."""

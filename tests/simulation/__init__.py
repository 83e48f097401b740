"""The whole of admission, retry and commit under seeded faults, without a broker, a clock or a loop."""

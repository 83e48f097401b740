"""What runs: the shells around the core, each carrying out effects through ports."""

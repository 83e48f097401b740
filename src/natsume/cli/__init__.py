"""The command `natsume`."""

"""The promises under faults: real processes, a real server, and kills."""

"""The vocabulary: tasks, records, subjects and bounds, known to every other layer."""

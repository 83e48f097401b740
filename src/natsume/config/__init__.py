"""The tasks file: read, checked, and made into what should tick."""

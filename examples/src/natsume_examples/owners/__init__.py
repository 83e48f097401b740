"""Owners: copies of the people and groups that a directory knows."""

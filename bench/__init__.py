"""Ratios against a ceiling measured in the same run: `just bench`."""

"""The virtual organisation that tasks act for where they name none."""

from typing import Final

DEFAULT_VO: Final = "default"

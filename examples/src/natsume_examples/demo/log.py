"""The demo's live log: one line per event, many completions in one."""

import os
import sys
import time
from collections import Counter
from typing import Final

_GREEN, _RED, _YELLOW, _CYAN, _MAGENTA = 32, 31, 33, 36, 35
_COLOURS: Final = {
    "completed": _GREEN,
    "recovered": _GREEN,
    "retry": _YELLOW,
    "again": _CYAN,
    "killed": _MAGENTA,
    "failed": _RED,
    "dead": _RED,
    "mismatch": _RED,
}
_WORD_WIDTH: Final = 10
_TEXT_MAX: Final = 110
_INDENT: Final = 21


class Log:
    """Writes lines of time, word and text to standard output."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._completed: Counter[str] = Counter()

    def line(self, word: str, text: str) -> None:
        """One event, now; completions before it come first."""
        self.flush()
        self._write(word, text)

    def completed(self, worker: str) -> None:
        """One more completion, to be told with others."""
        self._completed[worker] += 1

    def flush(self) -> None:
        """Tell the completions since the last line."""
        if self._completed:
            by_worker = ", ".join(f"{count} by {worker}" for worker, count in sorted(self._completed.items()))
            self._completed.clear()
            self._write("completed", by_worker)

    def more(self, text: str) -> None:
        """A further line of the event before."""
        self.plain(f"{'':{_INDENT}}{text}")

    def plain(self, text: str = "") -> None:
        """A line without a time."""
        self.flush()
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def _write(self, word: str, text: str) -> None:
        text = text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}…"
        padded = f"{word:<{_WORD_WIDTH}}"
        if self._coloured and word in _COLOURS:
            padded = f"\x1b[{_COLOURS[word]}m{padded}\x1b[0m"
        sys.stdout.write(f"{time.monotonic() - self._began:6.2f} s  {padded} {text}\n")
        sys.stdout.flush()

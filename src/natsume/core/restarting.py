"""How long a process that ended waits for its next start."""

from typing import Final

PAUSE_FIRST_S: Final = 0.5
PAUSE_LAST_S: Final = 30.0


def pause_s(starts: int) -> float:
    """The pause after so many starts in a row that did not come to be ready; it doubles, up to half a minute.

    Being ready begins anew: what ended then may have been a poison task, whose crashes are counted elsewhere, and the
    other tasks wait.
    """
    return min(PAUSE_LAST_S, PAUSE_FIRST_S * 2.0 ** min(starts, 10))

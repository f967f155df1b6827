"""What a command prints reaches whoever listens, in the letters that they can show, or the command
says why not.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from zfjax.errors import explain_os_error


def settle_streams() -> None:
    """Gives a command streams that never fail for a letter: what an encoding lacks (ascii, cp1252),
    and what is no letter at all (half of a pair), is written as an escape. A stream that is closed
    leads nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        with suppress(AttributeError, ValueError, OSError):  # a notebook's is of another kind
            getattr(sys, name).reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Writes out what was printed. Raises BrokenPipeError where nobody reads it any more, and
    ZfjaxError where it cannot be kept.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise explain_os_error(error, "write what the command prints") from error

"""How long tests wait for what must happen; no test asserts how long anything took."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 600.0
"""The end of waiting for what will never happen. Far above what it takes, because a slow machine
that is busy with other work must pass as well."""


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Poll: for what happens in other processes and threads and nobody announces."""
    deadline_s = time.monotonic() + PATIENCE_S
    pause_s = 0.01
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(pause_s)
        pause_s = min(0.1, 1.2 * pause_s)  # asking takes time from what is waited for

"""Where decoded audio belongs on the player's clock.

Subtitles are timed against what a player shows, so a track that starts late or has holes in its
timestamps gets silence there. Timestamps are also the least reliable part of media files; this
module decides which of them to believe. The player's zero is the start of the earliest stream, as
in FFmpeg, mpv and VLC.
"""

from __future__ import annotations

START_TOLERANCE_S = 0.03
"""Below this a late start is encoder delay (AAC 21–46 ms in milliseconds of rounding), not time."""

TOLERANCE_S = 0.1
"""Smaller deviations are rounding (Matroska counts milliseconds, AVI counts blocks)."""

DISCONTINUITY_S = 10.0
"""In formats whose clock may restart (MPEG-TS, MPEG-PS, Ogg) a jump over this is a new clock, not
time that passed: FFmpeg's ``-dts_delta_threshold`` default."""

RESTART_S = 1.0
"""Timestamps this far behind the samples are a new clock in every format: joined files."""

UNDECLARED_HOLE_S = 3600.0
"""Longest hole believed where the container declares no duration (browser recordings)."""


class PlayerClock:
    """Turns timestamps into the silence that is missing before each frame.

    Sound is never dropped: where timestamps lag behind the samples, the surplus is remembered
    implicitly and used up by the next hole; only a jump back over ``RESTART_S`` starts a new clock.
    """

    def __init__(self, zero_s: float, declared_s: float | None, *, may_restart: bool) -> None:
        """``zero_s``: timestamp of the player's zero; ``may_restart``: the format's clock may."""
        self._offset_s = zero_s
        self._declared_s = declared_s
        self._may_restart = may_restart
        self._started = False

    def missing_before(
        self, time_s: float, duration_s: float, next_time_s: float | None, position_s: float
    ) -> float:
        """Seconds of silence to insert before a frame, ``position_s`` being written so far.

        ``next_time_s`` is the following frame's timestamp: a jump that it does not confirm is one
        wrong timestamp and moves nothing.
        """
        tolerance_s = TOLERANCE_S if self._started else START_TOLERANCE_S
        hole_s = time_s - self._offset_s - position_s
        if abs(hole_s) <= tolerance_s:
            self._started = True
            return 0.0
        if next_time_s is not None and _contradicted(hole_s, next_time_s - time_s - duration_s):
            return 0.0
        first, self._started = not self._started, True
        if self._believable(hole_s, position_s, first):
            return max(0.0, hole_s)
        self._offset_s = time_s - position_s
        return 0.0

    def _believable(self, hole_s: float, position_s: float, first: bool) -> bool:
        if hole_s < 0:
            return hole_s >= -RESTART_S
        if self._may_restart and not first and hole_s > DISCONTINUITY_S:
            return False
        if self._declared_s is None:
            return hole_s <= UNDECLARED_HOLE_S
        return position_s + hole_s <= self._declared_s + 1.0


def _contradicted(hole_s: float, after_s: float) -> bool:
    """Whether the timestamp after a jump jumps back over it; ``after_s`` is the gap after it."""
    return after_s < -TOLERANCE_S if hole_s > 0 else after_s > TOLERANCE_S

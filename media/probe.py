"""A quick look into a file: which audio tracks there are, so that a person can choose one.

Runs in the isolated process like everything that touches libav; parents call
:func:`media.process.probe`.
"""

from __future__ import annotations

from pathlib import Path

from media.container import DecodeLimits, MediaProbe, describe, open_media


def probe_media(path: Path, limits: DecodeLimits) -> MediaProbe:
    """Describe a file without decoding it. A file without audio has no ``tracks``."""
    with open_media(path, limits) as container:
        return describe(container)

"""The version of the decoding, for results that are kept and used again.

A kept segment is used again only while everything that made it is the same: audio, model, settings,
and the way of decoding, which this number stands for.
"""

from __future__ import annotations

DECODING_VERSION = 2
"""Raise it with every change that gives some segment another text or other times: searches, gate,
prompts, rounds, alignment, word times, and releases of CTranslate2 or faster-whisper that do so.
``tests/decoding/test_version.py`` fails when the text of a recording changed and this did not."""

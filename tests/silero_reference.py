"""What the silero-vad package itself hears in a recording of the tests: the reference for ours.

pip install -r requirements-finetune.txt  # it imports torch
python -m tests.silero_reference > tests/data/silero_spans.json
"""

from __future__ import annotations

import json
import sys

from core.planning import FRAME_S
from core.types import SAMPLE_RATE
from tests.spoken import Recording, joined
from vad import EXIT_MARGIN, MIN_SILENCE_S


def recorded() -> Recording:
    return joined(range(8), gaps_s=(0.3, 1.2, 2.5))


def main() -> None:
    from silero_vad import get_speech_timestamps_sequence, load_silero_vad

    spans = get_speech_timestamps_sequence(
        recorded().pcm.astype("float32") / 32768,
        load_silero_vad(sequence=True),
        threshold=0.5,
        neg_threshold=0.5 - EXIT_MARGIN,
        min_speech_duration_ms=0,
        # It counts a silence up to the beginning of the frame it looks at, we to its end.
        min_silence_duration_ms=round((MIN_SILENCE_S - FRAME_S) * 1000),
        speech_pad_ms=0,
    )
    seconds = [[span[end] / SAMPLE_RATE for end in ("start", "end")] for span in spans]
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main()

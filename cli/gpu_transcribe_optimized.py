"""Subtitles with what suits this machine best: ``python cli/gpu_transcribe_optimized.py --url U``.

The command ``gpu-transcribe`` with its options, but each GPU takes the best compute type it can do
and the largest batch that fits into its memory now, whatever ``.env`` and the environment say. The
model is the setting's, and ``auto`` is the best that fits. An option that is given still counts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python looks for modules in this folder alone.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cli.main import main as run

OPTIMIZED = ("--compute-type", "auto", "--batch-size", "0")


def main(argv: Sequence[str] | None = None) -> int:
    return run(["gpu-transcribe", *OPTIMIZED, *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())

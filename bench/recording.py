"""Builds the long recording of the benchmarks: real clips joined with silences, true words known.

Clips of different speakers follow each other inside 30 s, because that is where batched decoding
loses words. Usage: ``python -m bench.recording OUT.flac [--hours H] [--seed N]``.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from core.types import SAMPLE_RATE

GAP_S = (0.15, 4.0)
"""Silence between two clips, drawn uniformly."""

NOISE_FLOOR = 1e-4
"""Amplitude of the noise in the gaps (-80 dBFS): digital silence hardly occurs in recordings."""


@dataclass(frozen=True, slots=True)
class Clip:
    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """Where a clip's speech truly lies in the joined recording."""

    start_s: float
    end_s: float
    text: str
    clip: str


def load_clips(folder: Path, prefixes: tuple[str, ...], language: str = "en") -> list[Clip]:
    """Clips of a speech folder with a table of the columns file, language and transcript:
    ``manifest.tsv``, or ``transcripts.tsv`` as the tests' own folder has it."""
    tables = (folder / "manifest.tsv", folder / "transcripts.tsv")
    with next((t for t in tables if t.is_file()), tables[0]).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Clip(folder / row["file"], row["transcript"])
        for row in rows
        if row["language"] == language and row["file"].startswith(prefixes)
    ]


def speech_bounds(audio: npt.NDArray[np.float32]) -> tuple[int, int]:
    """First and last sample of speech: 10 ms RMS over 6 % of its 95th percentile for 30 ms."""
    hop = SAMPLE_RATE // 100
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    rms = np.sqrt((frames**2).mean(axis=1))
    loud = rms > 0.06 * np.percentile(rms, 95)
    steady = np.flatnonzero(np.convolve(loud, np.ones(3), "valid") >= 3)
    if not len(steady):
        return 0, len(audio)
    return int(steady[0] * hop), int((steady[-1] + 3) * hop)


def join(
    clips: list[Clip], *, seed: int, at_least_s: float
) -> tuple[npt.NDArray[np.float32], list[Utterance]]:
    """Shuffle the clips and join them with gaps until ``at_least_s``, again when all were used."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    parts: list[npt.NDArray[np.float32]] = []
    utterances: list[Utterance] = []
    position = 0
    while position < at_least_s * SAMPLE_RATE:
        order = list(clips)
        rng.shuffle(order)
        for clip in order:
            if position >= at_least_s * SAMPLE_RATE:
                break
            gap = int(rng.uniform(*GAP_S) * SAMPLE_RATE)
            parts.append((noise.standard_normal(gap) * NOISE_FLOOR).astype(np.float32))
            position += gap
            audio, rate = soundfile.read(clip.path, dtype="float32")
            assert rate == SAMPLE_RATE, f"{clip.path}: {rate} Hz"
            first, last = speech_bounds(audio)
            utterances.append(
                Utterance(
                    (position + first) / SAMPLE_RATE,
                    (position + last) / SAMPLE_RATE,
                    clip.text,
                    clip.path.name,
                )
            )
            parts.append(audio)
            position += len(audio)
    return np.concatenate(parts), utterances


def build(
    target: Path,
    *,
    folder: Path,
    prefixes: tuple[str, ...] = ("librispeech_", "ljspeech_"),
    seed: int = 1,
    at_least_s: float = 12 * 60,
) -> list[Utterance]:
    """Write the recording and, beside it, ``.json`` with the true utterances."""
    clips = load_clips(folder, prefixes)
    if not clips:
        raise FileNotFoundError(f"no clips named {'/'.join(prefixes)}* in {folder}")
    audio, utterances = join(clips, seed=seed, at_least_s=at_least_s)
    soundfile.write(target, audio, SAMPLE_RATE, subtype="PCM_16")
    target.with_suffix(".json").write_text(
        json.dumps([asdict(utterance) for utterance in utterances], ensure_ascii=False, indent=1)
    )
    return utterances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--speech", type=Path, default=Path("../shared/speech"))
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    build(args.target, folder=args.speech, seed=args.seed, at_least_s=args.minutes * 60)


if __name__ == "__main__":
    main()

"""Many recordings in one command: does its memory grow with them, and how fast does it go through?

    python -m bench.many --recordings 1000 --out /tmp/many

The command is real, but for its engine (``bench.scripted_command``): what is measured is all that
is around it.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from bench.figures import Check, none_of, publish
from bench.machine import machine
from core.process_memory import resident_mib
from core.types import SAMPLE_RATE

CLIP = Path("tests/data/ljspeech/LJ001-0002.flac")
SETTLED = 100
"""Recordings after which nothing may grow any more."""
MAY_GROW_MIB = 5.0


def recordings(folder: Path, count: int) -> None:
    """Two seconds each, every one a little louder than the one before."""
    folder.mkdir()
    sound, _ = soundfile.read(CLIP, dtype="int16")
    for number in range(count):
        louder = (sound * (0.5 + 0.4 * number / count)).astype(np.int16)
        soundfile.write(folder / f"{number:06}.wav", louder, SAMPLE_RATE, subtype="PCM_16")


def ended(summary: Path) -> int:
    """Recordings that have a row."""
    return max(0, summary.read_bytes().count(b"\n") - 1) if summary.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="many-") as name:
        folder, summary = Path(name), Path(name) / "summary.csv"
        recordings(folder / "in", args.recordings)
        command = [sys.executable, "-m", "bench.scripted_command", "transcribe"]
        command += [str(folder / "in"), "--output-dir", str(folder / "out"), "--model", "tiny.en"]
        command += ["--summary", str(summary), "--no-cache", "--quiet", "--device", "cpu"]
        command += ["--report", str(folder / "report.json")]
        held: dict[int, float] = {}
        began = time.monotonic()
        with subprocess.Popen(command) as process:
            while process.poll() is None:
                held[ended(summary)] = resident_mib(process.pid) or 0.0
                time.sleep(0.2)
        took_s = time.monotonic() - began
        with summary.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        texts = {path.read_bytes() for path in (folder / "out").glob("*.srt")}
        shutil.rmtree(folder / "out")
    early = max(mib for count, mib in held.items() if count <= SETTLED)
    late = max(mib for count, mib in held.items() if mib)
    checks = [
        none_of("exit code", process.returncode),
        none_of("recordings not complete", sum(row["state"] != "complete" for row in rows)),
        none_of("recordings without subtitles of their own", args.recordings - len(texts)),
        Check(
            f"memory of the command, up to recording {SETTLED} and up to {args.recordings}",
            f"{early:.1f} and {late:.1f} MiB",
            f"at most +{MAY_GROW_MIB:g} MiB",
            late - early <= MAY_GROW_MIB,
        ),
        Check("time for each", f"{took_s / args.recordings:.2f} s", "none", True),
    ]
    load = f"load {os.getloadavg()[0]:.1f}"
    intro = f"{args.recordings} recordings of 2 s in one command; {machine()}, {load}."
    return publish(args.out, "many", intro, checks, {"held_mib": held, "seconds": took_s})


if __name__ == "__main__":
    sys.exit(main())

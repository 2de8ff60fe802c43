"""Long recordings: does memory grow with them, and how soon is the first text there?

    python -m bench.long_files --hours 0.1667 3

Runs the command line on the benchmark recording repeated to each length, and prints the parent
process's peak memory, the time to the first text and the speed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from bench.machine import machine
from bench.recording import build
from core.types import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class LongRun:
    audio_s: float
    peak_mib: float
    first_text_s: float
    speed: float


def repeat(source: Path, target: Path, seconds: float) -> None:
    """``source`` again and again until ``seconds``, written piece by piece."""
    audio, rate = soundfile.read(source, dtype="int16")
    assert rate == SAMPLE_RATE
    left = int(seconds * rate)
    with soundfile.SoundFile(target, "w", rate, 1, subtype="PCM_16") as file:
        while left > 0:
            part: np.ndarray = audio[:left]
            file.write(part)
            left -= len(part)


def transcribe(recording: Path, model: str, out: Path) -> LongRun:
    """One run of the command line, its own peak memory read from the kernel until it ends."""
    report = out / f"{recording.stem}.report.json"
    command = [sys.executable, "-m", "cli.main", "transcribe", str(recording), "--model", model]
    command += ["--no-cache", "--language", "en", "--output-dir", str(out), "--report", str(report)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_kib = 0
    while True:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        high = re.search(r"VmHWM:\s+(\d+)", status)  # a zombie has no memory any more
        peak_kib = int(high[1]) if high else peak_kib
        try:
            process.wait(0.2)
            break
        except subprocess.TimeoutExpired:
            continue
    if process.returncode not in (0, 3):
        raise RuntimeError(f"{recording}: exit code {process.returncode}")
    facts = json.loads(report.read_text(encoding="utf-8"))
    return LongRun(facts["audio_s"], peak_kib / 1024, facts["first_text_s"], facts["speed"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--hours", type=float, nargs="+", default=[1 / 6, 3.0])
    parser.add_argument("--speech", type=Path, default=Path("../shared/speech"))
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    source = args.out / "long.flac"
    build(source, folder=args.speech)
    runs = []
    for hours in args.hours:
        recording = args.out / f"{hours:.2f}h.flac"
        repeat(source, recording, hours * 3600)
        runs.append(transcribe(recording, args.model, args.out))
        recording.unlink()
    lines = [
        f"{args.model}, int8, beam 5, word timestamps, on {machine()}.",
        "",
        "| audio | peak memory of the parent | ratio | first text after | × real time |",
        "|---|---|---|---|---|",
        *[
            f"| {run.audio_s / 60:.0f} min | {run.peak_mib:.0f} MiB"
            f" | {run.peak_mib / runs[0].peak_mib:.2f} | {run.first_text_s:.1f} s"
            f" | {run.speed:.1f}x |"
            for run in runs
        ],
    ]
    text = "\n".join(lines) + "\n"
    (args.out / "long_files.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()

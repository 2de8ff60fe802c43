"""This project against faster-whisper: speed and word errors, in one run, alternating.

Same model, same recording, same quality settings (int8, beam 5, word timestamps), models loaded,
from file to SRT. Writes a table and a plot.

    python -m bench.compare --models tiny.en base --rounds 3

The recording is joined from real clips with silences (``bench/recording.py``). Quote ratios: the
absolute times are those of one machine at one moment.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from bench import ways
from bench.recording import build
from bench.scoring import WordErrors, true_text, word_errors
from core.model_store import resolve_model
from core.settings import Settings
from workers.resources import usable_cores


@dataclass(slots=True)
class Measured:
    way: ways.Way
    seconds: list[float] = field(default_factory=list)
    errors: WordErrors | None = None

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)


def measure(candidates: list[ways.Way], recording: Path, rounds: int) -> list[Measured]:
    """Run every way ``rounds`` times, taking turns, after one unmeasured turn each."""
    results = [Measured(way) for way in candidates]
    truth = true_text(recording)
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            for result in results:
                started = time.perf_counter()
                text = result.way.run(recording, Path(folder))
                elapsed_s = time.perf_counter() - started
                if turn:
                    result.seconds.append(elapsed_s)
                result.errors = word_errors(truth, text)
    return results


def best_of(results: list[Measured], family: str) -> Measured:
    """The fastest way of a family."""
    return min((r for r in results if r.way.family == family), key=lambda r: r.median_s)


def table(model: str, results: list[Measured], audio_s: float) -> list[str]:
    """Markdown rows; ratios are against the better of the sequential ways."""
    reference = best_of(results, "sequential")
    rows = []
    for result in results:
        errors = result.errors
        assert errors is not None
        rows.append(
            f"| {model} | {result.way.name} | {audio_s / result.median_s:.1f}x"
            f" ({audio_s / max(result.seconds):.1f}-{audio_s / min(result.seconds):.1f})"
            f" | {reference.median_s / result.median_s:.2f} | {errors.rate:.2f} %"
            f" | {errors.substitutions} | {errors.deletions} | {errors.insertions} |"
        )
    return rows


HEADER = (
    "| model | way | × real time (min-max) | ratio | WER | S | D | I |\n"
    "|---|---|---|---|---|---|---|---|"
)


def plot(measured: dict[str, list[Measured]], audio_s: float, target: Path) -> None:
    """Speed against word error rate: right and low is good."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {"ours": "#1b7f4b", "sequential": "#3563a8", "batched": "#b5562b"}
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for marker, (model, results) in zip("osD^v", measured.items(), strict=False):
        for family, colour in colours.items():
            best = best_of(results, family)
            assert best.errors is not None
            x, y = audio_s / best.median_s, best.errors.rate
            axes.scatter(x, y, s=70, marker=marker, color=colour)
            label = f"{model}\n{best.way.name.split(',')[0]}"
            axes.annotate(label, (x, y), (6, 6), textcoords="offset points", fontsize=8)
    axes.set(xlabel="times real time (higher is faster)", ylabel="word error rate, %")
    axes.margins(x=0.25, y=0.2)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.savefig(target, dpi=130)


def candidates(model: str, batches: list[int], workers: int) -> list[ways.Way]:
    path = str(resolve_model(model, device="cpu", models_dir=Settings().models_dir).path)
    return [
        ways.ours(model, workers, batch=8),
        ways.sequential(path, 1),
        ways.sequential(path, 2),
        *[ways.batched(path, workers, batch) for batch in batches],
    ]


def machine() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {usable_cores()} cores"
    return f"{platform.processor() or platform.machine()}, {usable_cores()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--speech", type=Path, default=Path("../shared/speech"))
    parser.add_argument("--recording", type=Path, help="use this file and the .json beside it")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    recording = args.recording
    if recording is None:
        recording = args.out / "long.flac"
        build(recording, folder=args.speech, seed=args.seed, at_least_s=args.minutes * 60)
    audio_s = soundfile.info(recording).duration
    measured: dict[str, list[Measured]] = {}
    lines = [
        f"{audio_s / 60:.1f} minutes, int8, beam {ways.BEAM}, word timestamps, medians of"
        f" {args.rounds} rounds on {machine()}.",
        "",
        HEADER,
    ]
    for model in args.models:
        some = candidates(model, args.batches, args.workers)
        try:
            measured[model] = measure(some, recording, args.rounds)
        finally:
            for way in some:
                way.close()
        lines += table(model, measured[model], audio_s)
    text = "\n".join(lines) + "\n"
    (args.out / "compare.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    plot(measured, audio_s, args.out / "compare.png")


if __name__ == "__main__":
    main()

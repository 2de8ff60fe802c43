"""This project against faster-whisper: speed and word errors, in one run, alternating.

Same model, same recordings, same quality settings (int8, beam 5, word timestamps), models loaded,
from file to SRT. Each round is another recording, joined from real clips with silences
(``bench/recording.py``). Writes a table and a plot.

    python -m bench.compare --models tiny.en base --seeds 1 2 3

Quote ratios: the absolute times are those of one machine at one moment.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from bench import ways
from bench.machine import machine
from bench.recording import build
from bench.scoring import WordErrors, true_text, word_errors
from core.settings import Settings
from model_store.store import resolve_model
from workers.resources import usable_cores


@dataclass(slots=True)
class Measured:
    """One way over all rounds; each round is another recording."""

    way: ways.Way
    speeds: list[float] = field(default_factory=list)
    """Times real time, one per round."""
    errors: list[WordErrors] = field(default_factory=list)

    @property
    def speed(self) -> float:
        return statistics.median(self.speeds)

    @property
    def pooled(self) -> WordErrors:
        """Errors of all rounds together."""
        return WordErrors(
            *(sum(getattr(one, name) for one in self.errors) for name in WordErrors.__slots__)
        )


def measure(candidates: list[ways.Way], warm_up: Path, recordings: list[Path]) -> list[Measured]:
    """Run every way on every recording, taking turns, after an unmeasured turn on ``warm_up``."""
    results = [Measured(way) for way in candidates]
    with tempfile.TemporaryDirectory() as folder:
        for result in results:
            result.way.run(warm_up, Path(folder))
        for recording in recordings:
            audio_s, truth = soundfile.info(recording).duration, true_text(recording)
            for result in results:
                started = time.perf_counter()
                text = result.way.run(recording, Path(folder))
                result.speeds.append(audio_s / (time.perf_counter() - started))
                result.errors.append(word_errors(truth, text))
    return results


def best_of(results: list[Measured], family: str) -> Measured:
    """The fastest way of a family."""
    return max((r for r in results if r.way.family == family), key=lambda r: r.speed)


def table(model: str, results: list[Measured]) -> list[str]:
    """Markdown rows; ratios are against the better of the sequential ways, round by round."""
    reference = best_of(results, "sequential")
    rows = []
    for result in results:
        pairs = zip(result.speeds, reference.speeds, strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        errors = result.pooled
        each = ", ".join(f"{one.rate:.1f}" for one in result.errors)
        rows.append(
            f"| {model} | {result.way.name} | {result.speed:.1f}x"
            f" ({min(result.speeds):.1f}-{max(result.speeds):.1f}) | {ratio:.2f}"
            f" | {errors.rate:.2f} % ({each}) | {errors.substitutions}"
            f" | {errors.deletions} | {errors.insertions} |"
        )
    return rows


HEADER = (
    "| model | way | × real time (min-max) | ratio | WER (by round) | S | D | I |\n"
    "|---|---|---|---|---|---|---|---|"
)


def plot(measured: dict[str, list[Measured]], target: Path) -> None:
    """Speed against word error rate: right and low is good."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    families = {
        "ours": ("whisper-for-subs", "#1b7f4b"),
        "sequential": ("faster-whisper sequential", "#3563a8"),
        "batched": ("faster-whisper batched", "#b5562b"),
    }
    for marker, (model, results) in zip("osD^v", measured.items(), strict=False):
        for family, (name, colour) in families.items():
            best = best_of(results, family)
            x, y = best.speed, best.pooled.rate
            label = f"{name}, {model}"
            axes.scatter(x, y, s=80, marker=marker, color=colour, label=label)
    axes.legend(fontsize=8)
    axes.set(xlabel="times real time (higher is faster)", ylabel="word error rate, %")
    axes.margins(x=0.25, y=0.2)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.savefig(target, dpi=130)


def candidates(model: str, batches: list[int], workers: int) -> list[ways.Way]:
    path = str(resolve_model(Settings(), model, "cpu").path)
    return [
        ways.ours(model, workers, batch=8),
        ways.sequential(path, 1),
        ways.sequential(path, 2),
        *[ways.batched(path, workers, batch) for batch in batches],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--speech", type=Path, default=Path("../shared/speech"))
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    warm_up = args.out / "warm-up.flac"
    build(warm_up, folder=args.speech, seed=0, at_least_s=30)
    recordings = [args.out / f"long-{seed}.flac" for seed in args.seeds]
    for recording, seed in zip(recordings, args.seeds, strict=True):
        build(recording, folder=args.speech, seed=seed, at_least_s=args.minutes * 60)
    measured: dict[str, list[Measured]] = {}
    lines = [
        f"{len(recordings)} recordings of {args.minutes:.0f} minutes, one a round, int8, beam"
        f" {ways.BEAM}, word timestamps; median speed, pooled word errors; {machine()}.",
        "",
        HEADER,
    ]
    for model in args.models:
        some = candidates(model, args.batches, args.workers)
        try:
            measured[model] = measure(some, warm_up, recordings)
        finally:
            for way in some:
                way.close()
        lines += table(model, measured[model])
    text = "\n".join(lines) + "\n"
    (args.out / "compare.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    plot(measured, args.out / "compare.png")


if __name__ == "__main__":
    main()

"""Memory of workers: calculated against what was published, and against what is measured here.

    python -m bench.memory --published                 the published peaks, and the plot of them
    python -m bench.memory --guides                    the guides' tables, and ours
    python -m bench.memory                             tiny.en and base on this machine's first
                                                       device: GPU 0, or a CPU worker
    python -m bench.memory --models large-v3 --compute-types float16 --batches 1 8 --beams 5

Each set-up runs in a fresh worker process, which reports the most memory it took, as it does in
the service. Tables are Markdown, for ``docs/gpu-memory.md``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.gpu_guide import CARDS, MEMORY_GB, decide, longest_segment_s, our_answer
from bench.machine import machine
from bench.published_peaks import PUBLISHED, Published
from bench.recording import build
from core.settings import Settings
from core.types import DecodeOptions, PlanOptions
from gpu import support
from gpu.choice import on_card
from gpu.estimate import CONTEXT, Estimate, estimate
from gpu.manager import gpu_manager
from gpu.peaks import Peak
from gpu.physical import Setup
from gpu.report import MIB_PER_GB
from jobs.cards import devices_here
from parallel_transcriber import ParallelWhisperTranscriber

PLOT = Path("docs/images/gpu-memory.svg")
WINDOW_S = 32.0
"""Recording a batch of windows needs for each of them, silences between clips included."""


@dataclass(frozen=True, slots=True)
class Row:
    """One set-up, both ways."""

    name: str
    measured_mib: float
    found: Estimate
    calculated_mib: float
    remark: str = ""

    @property
    def off(self) -> float:
        return self.calculated_mib / self.measured_mib - 1


def published_rows() -> list[Row]:
    rows = []
    for each in PUBLISHED:
        found = estimate(_setup_of(each))
        total = found.total_mib - (0.0 if each.with_context else found.parts[CONTEXT])
        beam = f"beam {each.beam_size}" if each.beam_size else "beam not stated"
        name = f"{each.model} {each.compute_type}, batch {each.batch_size}, {beam}"
        remark = "; ".join(filter(None, (each.source, each.remark)))
        rows.append(Row(name, each.peak_mib, found, total, remark))
    return rows


def _setup_of(each: Published) -> Setup:
    return Setup(
        model=each.model,
        compute_type=each.compute_type,
        batch_size=each.batch_size,
        beam_size=each.beam_size or 5,
    )


def measure(setup: Setup, recording: Path, settings: Settings) -> Peak | None:
    """The peak one fresh worker reports; None where the driver cannot tell its share."""
    own = settings.model_copy(update={"batch_size": setup.batch_size})
    got: list[Peak] = []
    end = gpu_manager.peaks.listen(got.append)
    options = DecodeOptions(language="en", beam_size=setup.beam_size, batch_size=setup.batch_size)
    try:
        with ParallelWhisperTranscriber(
            setup.model, setup.compute_type, settings=own, multi_gpu=False
        ) as transcriber:
            transcriber.preload()
            transcriber.start(recording, options, PlanOptions()).result()
    finally:
        end()
    full = [peak for peak in got if peak.batch_size == setup.batch_size]
    return max(full, key=lambda peak: peak.peak_mib, default=None)


def measured_rows(
    setups: Iterable[Setup], folder: Path, out: Path, settings: Settings
) -> list[Row]:
    rows = []
    for setup in setups:
        recording = out / f"memory-{setup.batch_size}.flac"
        if not recording.exists():
            seconds = (3 * setup.batch_size + 3) * WINDOW_S
            build(recording, folder=folder, prefixes=("",), at_least_s=seconds)
        peak = measure(setup, recording, settings)
        name = f"{setup.model} {setup.compute_type}, batch {setup.batch_size}"
        name += f", beam {setup.beam_size}"
        if peak is None:
            _say(f"{name}: the worker's share cannot be told")
            continue
        # What was calculated before anything was measured.
        found = estimate(setup)
        rows.append(Row(name, peak.peak_mib, found, found.total_mib))
        _say(f"{name}: {peak.peak_mib:,.0f} MiB")
    return rows


def table(rows: Sequence[Row]) -> str:
    heads = ["set-up", "measured MiB", "calculated MiB", "off", "bar", "where"]
    lines = [
        [row.name, f"{row.measured_mib:,.0f}", f"{row.calculated_mib:,.0f}", f"{row.off:+.1%}",
         f"±{row.found.error:.0%}", row.remark]
        for row in rows
    ]  # fmt: skip
    return _markdown([heads, *lines])


def plot(rows: Sequence[Row], target: Path) -> None:
    """Calculated over measured, with the line of equality and its bar of 10 %."""
    import matplotlib

    matplotlib.use("svg")
    # Without salt and date the file changes only when the figures do.
    matplotlib.rcParams["svg.hashsalt"] = "memory"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 5.2), layout="constrained")
    highest = 1.1 * max(max(row.measured_mib, row.calculated_mib) for row in rows)
    axes.fill_between([0, highest], [0, 0.9 * highest], [0, 1.1 * highest], color="#dbeafe",
                      label="±10 %")  # fmt: skip
    axes.plot([0, highest], [0, highest], color="#64748b", linewidth=1)
    stated = {(p.model, p.compute_type, p.batch_size, p.peak_mib) for p in PUBLISHED if p.stated}
    for each, row in zip(PUBLISHED, rows, strict=True):
        known = (each.model, each.compute_type, each.batch_size, each.peak_mib) in stated
        axes.plot(
            row.measured_mib, row.calculated_mib, "o" if known else "x",
            color="#0f766e" if known else "#b45309",
        )  # fmt: skip
    axes.plot([], [], "o", color="#0f766e", label="batch, beam and precision stated")
    axes.plot([], [], "x", color="#b45309", label="something not stated, or another method")
    axes.set(xlim=(0, highest), ylim=(0, highest), xlabel="measured by others (MiB)",
             ylabel="calculated (MiB)")  # fmt: skip
    axes.legend(loc="upper left", frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)


def guide_tables() -> list[str]:
    """The guides' three tables with ours beside them."""
    models = [["model", "guide float32", "ours", "guide float16", "ours"]]
    for model, sizes in MEMORY_GB.items():
        row = [model]
        for kind, size in zip(("float32", "float16"), sizes, strict=True):
            ours = estimate(Setup(model=model, compute_type=kind)).total_mib / MIB_PER_GB
            row += [f"{size} GB", f"{ours:.1f} GB"]
        models.append(row)
    cards = [["card", "guide", "guide's own formula", "ours: auto", "the guide's model at once",
              "largest model"]]  # fmt: skip
    for card in CARDS:
        ours_here = our_answer(card.memory_gb, card.model)
        tasks = "-".join(dict.fromkeys(map(str, card.tasks)))
        auto = f"{ours_here.model} {ours_here.compute_type}, batch {ours_here.batch_size}"
        longest = longest_segment_s(card.memory_gb, card.model)
        guide = f"{card.model}, {card.longest_segment_s} s, {tasks} at once"
        cards.append([f"{card.name}, {card.memory_gb} GB", guide, f"{card.model}, {longest} s",
                      auto, str(ours_here.tasks), ours_here.largest])  # fmt: skip
    tree = [["free memory", "guide, quality", "ours", "guide, speed", "ours"]]
    for gb in (24, 8, 6, 4, 2, 1, 0.5):
        guides = ("medium float16", "small float16") if gb >= 8 else ("CPU or tiny",) * 2
        best, fast = decide(gb, highest_quality=True), decide(gb, highest_quality=False)
        tree.append([f"{gb} GB", guides[0], best, guides[1], fast])
    return [_markdown(rows) for rows in (models, cards, tree)]


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _setups(args: argparse.Namespace, settings: Settings) -> list[Setup]:
    card = devices_here(settings)[0]
    types = args.compute_types
    if types is None:
        gpu = ("float16", "int8_float16", "bfloat16")
        types = ("int8", "float32") if card.kind == "cpu" else gpu
    types = [
        name for name in types if card.kind == "cpu" or support.supports(card.capability, name)
    ]
    batches = args.batches or ((1, 4, 8) if card.kind == "cpu" else (1, 4, 8, 16, 32))
    return [
        on_card(Setup(model=model, compute_type=name, batch_size=batch, beam_size=beam), card)
        for model, name, batch, beam in itertools.product(args.models, types, batches, args.beams)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", action="store_true", help="compare with published peaks")
    parser.add_argument("--guides", action="store_true", help="the guides' tables and ours")
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--compute-types", nargs="+")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--speech", type=Path, default=Path("tests/data/ljspeech"))
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    args = parser.parse_args()
    if args.published:
        rows = published_rows()
        plot(rows, PLOT)
        _say(table(rows))
        return
    if args.guides:
        _say("\n\n".join(guide_tables()))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    settings = Settings(workers=1, log_level="error")
    rows = measured_rows(_setups(args, settings), args.speech, args.out, settings)
    _say(f"\n{machine()}, {devices_here(settings)[0].name}\n\n{table(rows)}")


if __name__ == "__main__":
    main()

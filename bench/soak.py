"""Many short jobs in one service: does anything grow?

Every job is a few seconds of speech in another container. They come in pairs, so that more than one
worker has work; after each pair, memory, descriptors and threads of the parent and of every worker
are read from the kernel, and the files on disk counted.
Writes a table, the data and a plot, and fails where something grows or is left.

    python -m bench.soak --jobs 500

Linux only.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.figures import Check, growth, none_of, publish
from bench.machine import machine
from bench.processes import Process, holdings, zombies
from bench.service import Service, add_options, settings_of, until
from core.logs import setup_logging
from tests.media.containers import make_container

log = logging.getLogger(__name__)

KINDS = ("wav", "flac", "mp3", "m4a", "ogg", "opus", "webm", "mkv", "mp4", "mov", "avi", "ts")

SETTLED = 50
"""Jobs after which nothing may grow any more: by then every path has been taken and every cache
is filled."""

AT_ONCE = 2
"""Jobs submitted together, and then waited for."""

GROWTH_PERCENT = 5.0

JOB_S = 120.0
"""Longest wait for the end of one short job."""

QUIET_S = 10.0
"""Longest wait for a job's own process and files to be gone after its end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One process after one pair of jobs."""

    pss_mib: float
    rss_mib: float
    descriptors: int
    threads: int


@dataclass(slots=True)
class Soaked:
    """What was seen. Lists have one entry a pair of jobs."""

    states: dict[str, int] = field(default_factory=dict)
    """How many jobs ended how; ``lost``: the service no longer knew them."""
    processes: dict[str, list[Sample]] = field(default_factory=dict)
    """By process: ``parent``, ``worker 1`` …"""
    database_mib: list[float] = field(default_factory=list)
    temporary: list[int] = field(default_factory=list)
    """Spools, uploads and temporary files that were there when the jobs had ended."""
    others: list[int] = field(default_factory=list)
    """Processes besides parent and workers."""
    zombies: int = 0
    last_descriptors: list[str] = field(default_factory=list)
    exit_code: int = 0
    processes_left: int = 0
    files_left: list[str] = field(default_factory=list)


def make_recordings(folder: Path, speech: Path) -> list[Path]:
    """Every clip of the folder, the kinds of files taken in turn until each has met each clip."""
    clips = sorted(speech.glob("*.flac"))
    return [
        make_container(clip, folder / f"{clip.stem}.{KINDS[(number + turn) % len(KINDS)]}")
        for turn in range(len(KINDS))
        for number, clip in enumerate(clips)
    ]


def soak(service: Service, recordings: Sequence[Path], jobs: int) -> Soaked:
    """Start the service, do the jobs pair by pair, stop it."""
    seen = Soaked()
    try:
        service.start()
        service.wait_ready()
        names = {service.parent.pid: "parent"}
        for first in range(0, jobs, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, jobs))
            _do(service, [recordings[number % len(recordings)] for number in numbers], seen)
            _sample(service, names, seen)
            if numbers.stop % SETTLED == 0:
                log.info("%d of %d jobs", numbers.stop, jobs)
        seen.zombies = len(zombies(service.parent.pid))
        held = holdings(service.parent.pid)
        seen.last_descriptors = sorted(held.descriptors) if held else []
        seen.exit_code = service.stop()
        seen.processes_left = len(service.gone())
        seen.files_left = [str(path) for path in service.leftovers()]
    finally:
        service.close()
    return seen


def _do(service: Service, recordings: Sequence[Path], seen: Soaked) -> None:
    states = {service.submit(recording, language="en"): "" for recording in recordings}

    def over() -> bool:
        for job_id in [job_id for job_id, state in states.items() if not state]:
            job = service.job(job_id)
            if job is None or job["ended"]:
                states[job_id] = job["state"] if job else "lost"
        return all(states.values())

    until(over, JOB_S, f"{', '.join(map(str, recordings))} are transcribed")
    for state in states.values():
        seen.states[state] = seen.states.get(state, 0) + 1


def _sample(service: Service, names: dict[int, str], seen: Soaked) -> None:
    """Once the jobs' own processes and files are gone, or after a time in which they should be."""
    found: list[Process] = []

    def quiet() -> bool:
        found[:] = service.processes()
        return not _others(found) and not service.leftovers()

    with suppress(TimeoutError):  # what is still there is counted
        until(quiet, QUIET_S, "the jobs' traces are gone")
    seen.others.append(len(_others(found)))
    seen.temporary.append(len(service.leftovers()))
    database = service.data_dir.glob("jobs.sqlite3*")
    seen.database_mib.append(sum(path.stat().st_size for path in database) / 2**20)
    for process in found:
        if process.kind == "worker" and process.pid not in names:
            names[process.pid] = f"worker {len(names)}"
        held = holdings(process.pid)
        if process.pid in names and held is not None:
            seen.processes.setdefault(names[process.pid], []).append(
                Sample(held.pss_mib, held.rss_mib, len(held.descriptors), held.threads)
            )


def _others(found: Sequence[Process]) -> list[Process]:
    return [process for process in found if process.kind in ("media", "starting")]


def windows(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Jobs 50 to 100 and the last 50; proportionally fewer of a short run."""
    size = min(SETTLED // AT_ONCE, len(samples) // 3)
    return samples[size : 2 * size], samples[len(samples) - size :]


def checks(seen: Soaked, jobs: int) -> list[Check]:
    states = ", ".join(f"{count} {state}" for state, count in seen.states.items())
    found = [Check("jobs complete", states, str(jobs), seen.states.get("complete") == jobs)]
    for name, samples in seen.processes.items():
        found += _growth(name, samples, jobs)
    return [*found, *_remains(seen)]


def _growth(name: str, samples: Sequence[Sample], jobs: int) -> list[Check]:
    pairs = -(-jobs // AT_ONCE)
    if len(samples) < pairs or pairs < 3:
        return [Check(name, f"lived for {len(samples)} pairs of jobs", f"{pairs}", False)]
    before, after = windows(samples)
    found = []
    for attribute, what in (("pss_mib", "memory (PSS)"), ("rss_mib", "memory (RSS)")):
        old, new = ([getattr(s, attribute) for s in part] for part in (before, after))
        percent = growth(old, new)
        found.append(
            Check(
                f"{name}: {what}",
                f"{statistics.median(old):.1f} → {statistics.median(new):.1f} MiB"
                f" ({percent:+.1f} %)",
                f"under +{GROWTH_PERCENT:.0f} %",
                percent < GROWTH_PERCENT,
            )
        )
    for attribute in ("descriptors", "threads"):
        low, high = (statistics.median(getattr(s, attribute) for s in p) for p in (before, after))
        found.append(
            Check(f"{name}: {attribute}", f"{low:.0f} → {high:.0f}", "no more", high <= low)
        )
    return found


def _remains(seen: Soaked) -> list[Check]:
    size = seen.database_mib[-1] if seen.database_mib else 0.0
    return [
        Check("database", f"{size:.1f} MiB", "—", True),
        none_of("temporary files after a job (max)", max(seen.temporary, default=0)),
        none_of("media processes after a job (max)", max(seen.others, default=0)),
        none_of("zombies", seen.zombies),
        Check("exit code after SIGTERM", str(seen.exit_code), "0", seen.exit_code == 0),
        none_of("processes left after the stop", seen.processes_left),
        none_of("temporary files left after the stop", seen.files_left),
    ]


def plot(seen: Soaked, target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (memory, counts, disk) = pyplot.subplots(
        3, 1, figsize=(8, 8), sharex=True, layout="constrained"
    )
    for name, samples in seen.processes.items():
        numbers = range(AT_ONCE, AT_ONCE * len(samples) + 1, AT_ONCE)
        memory.plot(numbers, [sample.pss_mib for sample in samples], label=name)
        counts.plot(
            numbers, [sample.descriptors for sample in samples], label=f"{name}, descriptors"
        )
        counts.plot(numbers, [s.threads for s in samples], "--", label=f"{name}, threads")
    numbers = range(AT_ONCE, AT_ONCE * len(seen.temporary) + 1, AT_ONCE)
    disk.plot(numbers, seen.temporary, label="spools, uploads, temporary files")
    disk.plot(numbers, seen.database_mib, label="database, MiB")
    memory.set(ylabel="memory (PSS), MiB")
    disk.set(xlabel="jobs done")
    for axes in (memory, counts, disk):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(target, dpi=130)
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=500)
    add_options(parser)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    setup_logging()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        recordings = make_recordings(folder, args.speech)
        seen = soak(Service(folder / "service", **settings_of(args)), recordings, args.jobs)
    intro = (
        f"{args.jobs} jobs of 2 to 10 s of speech in {len(KINDS)} kinds of files, {AT_ONCE} at a"
        f" time, with {args.model}; medians of the second {SETTLED} jobs and the last;"
        f" {machine()}."
    )
    code = publish(args.out, "soak", intro, checks(seen, args.jobs), asdict(seen))
    plot(seen, args.out / "soak.png")
    return code


if __name__ == "__main__":
    sys.exit(main())

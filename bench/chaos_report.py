"""What ``bench/chaos.py`` found: against the promises, as data, and as a picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.crowd import Followed
from bench.figures import Check, none_of, spread
from bench.kills import Killed

RECOVERY_S = 5.0
"""Promised, besides the load of the model, for a killed worker."""

DESCRIPTORS_MORE = 3
"""A connection kept alive here or there is no leak."""


@dataclass(slots=True)
class Course:
    """What a service did with the recordings, and what it left behind."""

    jobs: list[Followed] = field(default_factory=list)
    srt: dict[str, bytes] = field(default_factory=dict)
    """By job."""
    killed: list[Killed] = field(default_factory=list)
    incidents: Counter[str] = field(default_factory=Counter)
    """Kinds of entries in the jobs' histories."""
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    strays: int = 0
    """Jobs of submissions that got no answer."""
    strays_open: int = 0
    """Of those, jobs that did not end."""
    elapsed_s: float = 0.0
    load_s: float = 0.0
    """From the first worker's start of loading to the first inference."""
    descriptors: int = 0
    """Of the parent when all jobs had ended, connections to the database apart."""
    zombies: int = 0
    decoded: int = 0
    """Segments the workers have finished."""
    segments: dict[str, int] = field(default_factory=dict)
    """How many each job has."""
    replayed: int = 0
    """Segments that were in the journal when a job went on, over all resumptions."""
    exit_code: int = 0
    processes_left: list[int] = field(default_factory=list)
    files_left: list[str] = field(default_factory=list)


def differing(calm: Course, wild: Course) -> list[str]:
    """Jobs whose subtitles are not byte for byte those of the undisturbed course."""
    truth = {job.recording: calm.srt.get(job.id) for job in calm.jobs}
    return [
        job.id
        for job in wild.jobs
        if wild.srt.get(job.id) is None or wild.srt[job.id] != truth.get(job.recording)
    ]


def recoveries(course: Course, target: str) -> list[float]:
    return [
        killed.back_s
        for killed in course.killed
        if killed.target == target and killed.back_s is not None
    ]


def checks(calm: Course, wild: Course, recovery_s: float = RECOVERY_S) -> list[Check]:
    """Every promise of a disturbed service; ``recovery_s`` comes on top of the model's load."""
    promised_s = recovery_s + calm.load_s
    return [*_results(calm, wild), *_recovery(calm, wild, promised_s), *_remains(calm, wild)]


def _results(calm: Course, wild: Course) -> list[Check]:
    complete = sum(job.state == "complete" for job in wild.jobs)
    lost = wild.statuses[404] + sum(job.ended_s is None for job in wild.jobs) + wild.strays_open
    wrong = differing(calm, wild)
    calm_complete = sum(job.state == "complete" for job in calm.jobs)
    others = Counter(job.state for job in wild.jobs if job.state != "complete")
    return [
        Check(
            "jobs complete, undisturbed",
            f"{calm_complete} of {len(calm.jobs)}",
            "all",
            calm_complete == len(calm.jobs) > 0,
        ),
        Check(
            "jobs complete, disturbed",
            f"{complete} of {len(wild.jobs)}" + "".join(f", {n} {s}" for s, n in others.items()),
            "all",
            complete == len(wild.jobs) > 0,
        ),
        none_of("accepted jobs lost or unknown at any time", lost),
        Check(
            "subtitles byte-identical to the undisturbed ones",
            f"{len(wild.jobs) - len(wrong)} of {len(wild.jobs)}",
            "all",
            not wrong,
        ),
        none_of("answers 500", wild.statuses[500]),
    ]


def _recovery(calm: Course, wild: Course, promised_s: float) -> list[Check]:
    workers, parents = recoveries(wild, "worker"), recoveries(wild, "parent")
    late = [
        killed
        for killed in wild.killed
        if killed.target == "worker" and killed.back_s is None and killed.watched_s > promised_s
    ]
    kinds = Counter(f"{killed.target} {killed.how}" for killed in wild.killed)
    starting = sum(not killed.ready for killed in wild.killed)
    names = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
    return [
        Check(
            "kills",
            f"{len(wild.killed)}: {names}; {starting} of them while the service was starting",
            "—",
            True,
        ),
        Check(
            "worker killed → its successor has the model"
            f" (median / 95 % / max of {len(workers)} that no other kill overtook)",
            spread(workers),
            f"under {promised_s:.1f} s, {calm.load_s:.1f} s of it the model's load",
            all(seconds < promised_s for seconds in workers),
        ),
        none_of("workers killed and not replaced in that time, nor before another kill", len(late)),
        Check(
            f"service killed → started again and ready (of {len(parents)})",
            spread(parents),
            "—",
            True,
        ),
        Check(
            "segments: needed / taken from the journal / finished by workers",
            f"{sum(wild.segments.values())} / {wild.replayed} / {wild.decoded}",
            "—",
            True,
        ),
        Check(
            "lines in the jobs' histories",
            ", ".join(f"{count} {kind}" for kind, count in sorted(wild.incidents.items())) or "0",
            "—",
            True,
        ),
    ]


def _remains(calm: Course, wild: Course) -> list[Check]:
    more = wild.descriptors - calm.descriptors
    return [
        Check(
            "descriptors of the idle parent, without the database (undisturbed)",
            f"{wild.descriptors} ({calm.descriptors})",
            f"at most {DESCRIPTORS_MORE} more",
            more <= DESCRIPTORS_MORE,
        ),
        none_of("zombies", wild.zombies),
        Check("exit code after SIGTERM", str(wild.exit_code), "0", wild.exit_code == 0),
        none_of("processes left after the stop", wild.processes_left),
        none_of("spool, upload and temporary files left", wild.files_left),
    ]


def data(course: Course) -> dict[str, Any]:
    """Everything but the subtitles."""
    return {
        "jobs": [asdict(job) | {"recording": job.recording.name} for job in course.jobs],
        "killed": [asdict(killed) for killed in course.killed],
        "incidents": course.incidents,
        "statuses": course.statuses,
        "unanswered": course.unanswered,
        "strays": course.strays,
        "elapsed_s": course.elapsed_s,
        "load_s": course.load_s,
        "descriptors": course.descriptors,
        "decoded": course.decoded,
        "segments": course.segments,
        "replayed": course.replayed,
        "exit_code": course.exit_code,
        "processes_left": course.processes_left,
        "files_left": course.files_left,
    }


def plot(wild: Course, target: Path) -> None:
    """Each job as a line from its acceptance to its end, each kill as a mark across all."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (lives, back) = pyplot.subplots(
        2, 1, figsize=(8, 6), layout="constrained", height_ratios=(3, 1)
    )
    colours = {"worker": "#d08a1d", "parent": "#b02a2a"}
    names = {"worker": "a worker killed", "parent": "the service killed"}
    for target_name, colour in colours.items():
        times = [killed.at_s for killed in wild.killed if killed.target == target_name]
        lives.vlines(
            times, -1, len(wild.jobs), color=colour, linewidth=0.7, label=names[target_name]
        )
    for row, job in enumerate(wild.jobs):
        end_s = job.ended_s if job.ended_s is not None else wild.elapsed_s
        colour = "#1b7f4b" if job.state == "complete" else "#222222"
        lives.plot([job.accepted_s, end_s], [row, row], color=colour, linewidth=3)
    lives.set(xlabel="seconds", ylabel="job", ylim=(-1, len(wild.jobs)))
    lives.legend(loc="lower right", fontsize=8)
    values = [recoveries(wild, name) for name in colours]
    back.hist(values, bins=30, stacked=True, color=list(colours.values()))
    back.set(xlabel="seconds until it is back", ylabel="kills", xlim=(0, None))
    figure.savefig(target, dpi=130)
    pyplot.close(figure)

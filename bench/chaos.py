"""Random faults against a running service: is every job finished, with the very same subtitles?

First an undisturbed service transcribes all recordings; then another one does, while its workers
and the whole service are killed at random moments and the service is started again at once on the
same data directory. Writes a table, the data and a plot, and fails where a promise is not kept.

    python -m bench.chaos --jobs 20 --kills 100

More jobs are submitted for as long as there are kills to come. Linux only.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.chaos_report import Course, checks, data, plot
from bench.crowd import Crowd
from bench.figures import publish
from bench.kills import Killer, plan_kills
from bench.machine import machine
from bench.processes import holdings, zombies
from bench.recording import build
from bench.service import Service, add_options, settings_of, until
from core.logs import setup_logging
from jobs.folders import JobFolders
from jobs.stored import kept_of

END_S = 900.0
"""Longest wait for the last jobs after the last kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    recordings: Sequence[Path]
    jobs: int
    kills: int
    mean_s: float
    """Between two kills."""
    at_once: int
    seed: int
    query: dict[str, str]
    settings: dict[str, str]


def make_recordings(
    folder: Path, speech: Path, jobs: int, lengths_s: tuple[float, float], seed: int
) -> list[Path]:
    """Known speech, another selection and length for each job."""
    rng = random.Random(seed)
    made = []
    for number in range(jobs):
        made.append(folder / f"chaos-{seed}-{number}.flac")
        length_s = rng.uniform(*lengths_s)
        build(made[-1], folder=speech, prefixes=("",), seed=seed + number, at_least_s=length_s)
    return made


def run(plan: Plan, folder: Path) -> tuple[Course, Course]:
    """The undisturbed course and the disturbed one."""
    return (
        _course(plan, folder / "undisturbed", kills=0),
        _course(plan, folder / "disturbed", kills=plan.kills),
    )


def _course(plan: Plan, folder: Path, kills: int) -> Course:
    service = Service(folder, **plan.settings)
    course = Course()
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    try:
        service.start()
        until(lambda: bool(service.workers()), END_S, "a worker loads the model")
        course.load_s = service.wait_ready()
        _work(plan, service, course, kills, clock)
        course.elapsed_s = clock()
        _look_at(service, course)
        course.exit_code = service.stop()
        course.processes_left = [process.pid for process in service.gone()]
        course.files_left = [str(path.relative_to(folder)) for path in service.leftovers()]
        log = service.log.read_text(encoding="utf-8", errors="replace")
        course.decoded = len(re.findall("✓ Segment", log))
    finally:
        service.close()
    return course


def _work(
    plan: Plan, service: Service, course: Course, kills: int, clock: Callable[[], float]
) -> None:
    """Submit, kill, wait for the end, fetch the results."""
    rng = random.Random(plan.seed)
    killing_over = threading.Event()
    crowd = Crowd(
        service,
        plan.recordings,
        at_once=plan.at_once,
        wanted=lambda accepted: accepted < plan.jobs or not killing_over.is_set(),
        query=plan.query,
        clock=clock,
    )
    killer = Killer(service, rng, clock)
    crowd.start()
    try:
        if not crowd.accepted.wait(END_S):
            raise TimeoutError("no submission was accepted")
        killer.run(plan_kills(kills, plan.mean_s, rng), crowd.check)
        killing_over.set()
        crowd.wait(END_S)
    finally:
        crowd.stop()
        course.jobs, course.killed = crowd.jobs, killer.killed
        course.statuses, course.unanswered = crowd.statuses, crowd.unanswered
    _await_strays(service, course)


def _await_strays(service: Service, course: Course) -> None:
    """Jobs without a client, because the parent died after storing them and before saying so."""
    accepted = {job.id for job in course.jobs}

    def open_strays() -> int:
        strays = [job for job in service.jobs() if job["id"] not in accepted]
        course.strays = len(strays)
        course.strays_open = sum(not job["ended"] for job in strays)
        return course.strays_open

    with suppress(TimeoutError):  # what is still open is counted
        until(lambda: open_strays() == 0, END_S, "jobs without followers have ended")


def _look_at(service: Service, course: Course) -> None:
    """What can only be seen while the service lives: results, histories, descriptors."""
    folders = JobFolders(service.data_dir)
    for job in course.jobs:
        if job.state == "complete":
            srt = service.subtitles(job.id)
            if srt is not None:
                course.srt[job.id] = srt
            kept = kept_of(folders, job.id)
            course.segments[job.id] = len(kept.report.segments) if kept else 0
        for entry in service.history(job.id):
            course.incidents[entry["kind"]] += 1
            if entry["kind"] == "resumed":
                course.replayed += sum(map(int, re.findall(r"(\d+) finished", entry["text"])))
    held = holdings(service.parent.pid)
    # Not the connections to the database: the pool opens as many as were ever needed at once.
    own = [name for name in held.descriptors if "jobs.sqlite3" not in name] if held else []
    course.descriptors = len(own)
    course.zombies = len(zombies(service.parent.pid))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20, help="at least so many")
    parser.add_argument("--kills", type=int, default=100, help="half workers, half the service")
    parser.add_argument("--minutes", type=float, default=10.0, help="the kills are spread over")
    parser.add_argument("--at-once", type=int, default=4, help="jobs that have not ended")
    parser.add_argument("--seed", type=int, default=1)
    add_options(parser)
    parser.add_argument("--seconds", type=float, nargs=2, default=(60.0, 180.0), help="of a job")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    setup_logging()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        plan = Plan(
            recordings=make_recordings(folder, args.speech, args.jobs, args.seconds, args.seed),
            jobs=args.jobs,
            kills=args.kills,
            mean_s=60 * args.minutes / max(1, args.kills),
            at_once=args.at_once,
            seed=args.seed,
            query={"language": "en"},
            settings=settings_of(args),
        )
        calm, wild = run(plan, folder)
    intro = (
        f"{len(wild.jobs)} jobs of {args.seconds[0]:.0f} to {args.seconds[1]:.0f} s with"
        f" {args.model}, {args.at_once} at a time, seed {args.seed}; {len(wild.killed)} kills in"
        f" {wild.elapsed_s / 60:.1f} minutes; {machine()}."
    )
    code = publish(
        args.out,
        "chaos",
        intro,
        checks(calm, wild),
        {"undisturbed": data(calm), "disturbed": data(wild)},
    )
    plot(wild, args.out / "chaos.png")
    return code


if __name__ == "__main__":
    sys.exit(main())

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import Cancelled, DeviceUnavailable
from core.events import LanguageDecided, SegmentFinished, SegmentStarted, WorkersLoading
from core.pool_job import DecodeRequest, JobEnded, PoolEvent
from core.types import DecodeOptions
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import Bench, ended, gaps, gone, segment, segments, texts
from tests.workers.scripted_engine import FACTORY, read_log
from workers.pool import WorkerPool

ROOT = Path(__file__).parents[2]


def test_every_segment_is_finished_exactly_once(bench: Bench) -> None:
    job = bench.submit(bench.pool(), bench.model(), 20)
    events = list(job.events())
    finished = [event.index for event in events if isinstance(event, SegmentFinished)]
    assert sorted(finished) == list(range(20))
    assert texts(events) == {i: f"text {i}" for i in range(20)}
    assert gaps(events) == {}
    assert [report.index for report in job.reports] == list(range(20))
    assert {report.attempts for report in job.reports} == {1}
    assert sum(report.windows for report in job.reports) == 20
    assert job.job.transcribe_s > 0
    assert job.ended


def test_first_task_is_one_segment_and_no_task_is_over_the_batch_size(bench: Bench) -> None:
    model = bench.model()
    list(bench.submit(bench.pool(1), model, 20, batch_size=4).events())
    sizes = [len(entry["indices"]) for entry in read_log(model, "decode")]
    assert sizes == [1, 4, 4, 4, 4, 3]


def test_events_tell_the_wait_for_the_model_and_who_works(bench: Bench) -> None:
    job = bench.submit(bench.pool(1), bench.model("tiny"), 1)
    kinds = [type(event) for event in job.events()]
    assert kinds == [WorkersLoading, SegmentStarted, SegmentFinished]
    assert job.job.load_s > 0


def test_model_is_loaded_once_per_worker_over_two_jobs(bench: Bench) -> None:
    model, pool = bench.model(), bench.pool()
    assert pool.preload(model).result(PATIENCE_S) > 0
    for _ in range(2):
        job = bench.submit(pool, model, 6)
        list(job.events())
        assert job.job.load_s == 0
    assert len(read_log(model, "load")) == 2
    assert len(read_log(model, "warm_up")) == 2


def test_segments_are_decoded_before_the_input_is_finished(bench: Bench) -> None:
    job = bench.submit(bench.pool(1), bench.model())
    job.add([segment(0)])
    events = job.events()
    while not isinstance(next(events), SegmentFinished):
        assert not job.ended
    job.add([segment(1)])
    job.finish_input()
    assert texts(list(events)) == {1: "text 1"}
    with pytest.raises(ValueError, match="finish_input"):
        job.add([segment(2)])


def test_job_without_segments_ends_at_once(bench: Bench) -> None:
    job = bench.submit(bench.pool(1), bench.model())
    job.finish_input()
    assert list(job.events()) == []


def test_event_handler_gets_the_events_and_the_end(bench: Bench) -> None:
    heard: list[PoolEvent] = []
    request = DecodeRequest(model=bench.model(), options=DecodeOptions(language="en"))
    job = bench.pool(1).submit(request, bench.spool, heard.append)
    job.add(segments(2))
    job.finish_input()
    assert job.wait(PATIENCE_S)
    assert heard[-1] == JobEnded(None)
    assert sum(isinstance(event, SegmentFinished) for event in heard) == 2


def test_failing_event_handler_ends_only_its_own_job(bench: Bench) -> None:
    heard: list[PoolEvent] = []

    def fail(event: PoolEvent) -> None:
        heard.append(event)
        raise KeyError("handler")

    pool, model = bench.pool(1), bench.model()
    request = DecodeRequest(model=model, options=DecodeOptions(language="en"))
    bad = pool.submit(request, bench.spool, fail)
    bad.add(segments(3))
    bad.finish_input()
    good = bench.submit(pool, model, 3)
    assert len(texts(list(good.events()))) == 3
    assert bad.wait(PATIENCE_S)
    assert isinstance(heard[-1], JobEnded)
    assert isinstance(heard[-1].error, Cancelled)


def test_short_job_is_done_long_before_the_long_one_it_came_after(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "gate_once"}), bench.pool(1)
    long = bench.submit(pool, model, 60, batch_size=2)
    eventually(lambda: bool(read_log(model, "waiting")), "the long job is in work")
    short = bench.submit(pool, model, 6, batch_size=2, language="de")
    Path(model.path, "gate").touch()
    assert len(texts(list(short.events()))) == 6
    assert len(texts(list(long.events()))) == 60
    order = [entry["language"] for entry in read_log(model, "decode")]
    assert order.index("de") < len(order) - 1 - order[::-1].index("de") < len(order) / 2


def test_language_is_decided_once_before_other_segments_are_decoded(bench: Bench) -> None:
    model = bench.model(language="zh")
    job = bench.submit(bench.pool(), model, 8, language=None)
    events = list(job.events())
    assert LanguageDecided("zh", 0.9) in events
    assert job.job.language == "zh"
    assert len(texts(events)) == 8
    (detect,) = read_log(model, "detect")
    assert detect["windows"] == [0.0, 60.0, 120.0]
    decodes = read_log(model, "decode")
    # The other worker begins as soon as the language is known, perhaps before this one.
    assert next(e["indices"] for e in decodes if e["pid"] == detect["pid"]) == [0]
    assert {entry["language"] for entry in decodes} == {"zh"}


def test_status_tells_what_each_worker_does(bench: Bench) -> None:
    model, pool = bench.model("tiny", actions={"0": "gate"}), bench.pool(1)
    assert [status.state for status in pool.status()] == ["dead"]
    job = bench.submit(pool, model, 1)
    eventually(lambda: pool.status()[0].state == "busy", "the worker is busy")
    status = pool.status()[0]
    assert (status.label, status.model, status.segment) == ("CPU 0", "tiny", 0)
    assert status.last_heard_s is not None
    Path(model.path, "gate").touch()
    list(job.events())
    eventually(lambda: pool.status()[0].state == "idle", "the worker is idle again")


def test_log_lines_say_what_operators_search_for(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    model = bench.model("large-v3-turbo", actions={"1": "raise"})
    pool = bench.pool(1)
    list(bench.submit(pool, model, 2).events())
    pool.close()
    log = capfd.readouterr().err
    assert log.count("Loading Whisper model: large-v3-turbo on cpu") == 1
    assert "[CPU 0] Processing segment 0 (10.0s)" in log
    assert "[CPU 0] ✓ Segment 0: 1 texts" in log
    head, _, tail = log.partition("[CPU 0] ✗ ERROR in segment 1: cannot hear segment1\n")
    assert tail.lstrip().startswith("Traceback"), head


def test_close_cancels_running_jobs_and_later_ones_end_at_once(bench: Bench) -> None:
    model, pool = bench.model(actions={"0": "gate"}), bench.pool(1)
    job = bench.submit(pool, model, 1)
    eventually(lambda: bool(read_log(model, "waiting")), "the job is in work")
    pool.close()
    for late in (job, bench.submit(pool, model, 1)):
        with pytest.raises(Cancelled):
            list(late.events())
    with pytest.raises(Cancelled):
        pool.preload(model).result(PATIENCE_S)


def test_closing_an_unused_pool_leaves_nothing(open_files: Callable[[], int]) -> None:
    before = open_files()
    with pytest.raises(DeviceUnavailable):
        WorkerPool([])
    assert open_files() == before


def test_pools_leave_no_process_and_no_descriptor(
    bench: Bench, open_files: Callable[[], int]
) -> None:
    model = bench.model()

    def cycle() -> None:
        pool = bench.pool(1)
        list(bench.submit(pool, model, 1).events())
        (pid,) = bench.note_pids(pool)
        pool.close()
        assert gone(pid)

    before = open_files()
    for _ in range(5):
        cycle()
        WorkerPool(bench.pool(1).devices).close()
    assert open_files() == before


PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from core.pcm import PcmSpool
    from core.types import DecodeOptions
    from tests.workers.conftest import segments
    from workers.devices import Device
    from workers.engine import ModelSpec
    from core.pool_job import DecodeRequest
    from workers.pool import WorkerPool

    model = ModelSpec("scripted", sys.argv[1], "int8", "cpu")
    pool = WorkerPool([Device("CPU 0", "cpu"), Device("CPU 1", "cpu")], engine=sys.argv[2])
    spool = PcmSpool(Path(sys.argv[3]))
    request = DecodeRequest(model=model, options=DecodeOptions(language="en"))
    job = pool.submit(request, spool, lambda event: None)
    job.add(segments(2))
    pool.preload(model).result()
    print(*(status.pid for status in pool.status()), flush=True)
    if sys.argv[4] == "stay":
        sys.stdin.read()
    """
)


def _run_program(bench: Bench, mode: str) -> subprocess.Popen[str]:
    model = bench.model(actions={"0": "hang", "1": "hang"})
    script = bench.directory / "program.py"
    script.write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, str(script), model.path, FACTORY, str(bench.spool.path), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )


@pytest.mark.parametrize("mode", ["leave", "stay"])
def test_no_worker_outlives_its_parent(bench: Bench, mode: str) -> None:
    """Neither a parent that forgets to close, nor one that is killed, with both workers stuck."""
    with _run_program(bench, mode) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        if mode == "stay":
            os.kill(parent.pid, signal.SIGKILL)
        parent.wait(PATIENCE_S)
        eventually(lambda: all(map(ended, pids)), "both workers ended")

"""Devices of other machines as slots of a real pool, over a real Ray cluster."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile as sf

from cluster.link import SILENT_S, ClusterLink
from core.settings import Settings
from core.types import SAMPLE_RATE, ModelSpec, TranscriptSegment
from parallel_transcriber import ParallelWhisperTranscriber
from tests.cluster.machines import Machine, TestCluster, cluster
from tests.conftest import ROOT
from tests.spoken import joined as joined_recording
from tests.waiting import eventually
from tests.workers.conftest import QUICK, Bench, WatchedJob, gaps, incidents, texts
from tests.workers.scripted_engine import FACTORY, read_log
from workers.backend import SlotBackend, StartBackend
from workers.devices import Device
from workers.fleet import WorkerStatus
from workers.limits import PoolLimits
from workers.messages import WorkerSpec
from workers.pool import WorkerPool
from workers.worker import Worker

HELD = {str(index): "gate" for index in range(12)}
"""Each worker stops with its first segment until the gate opens."""

pytest.importorskip("ray", reason="needs Ray: pip install -r requirements-cluster.txt")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def node(machines: TestCluster) -> Iterator[Machine]:
    """One that is gone with the test."""
    found = machines.join()
    yield found
    found.kill()


def pool_of(
    bench: Bench, machines: TestCluster, limits: PoolLimits = QUICK, start: StartBackend = Worker
) -> WorkerPool:
    """One worker here, and those of the cluster."""
    link = ClusterLink(machines.address, token=machines.token)
    devices = [Device("CPU 0", "cpu")]
    pool = WorkerPool(devices, engine=FACTORY, limits=limits, cluster=link, start=start)
    bench.pools.append(pool)
    pool.start()
    return pool


def remote(pool: WorkerPool) -> list[WorkerStatus]:
    return [status for status in pool.status() if status.node]


def joined(pool: WorkerPool) -> WorkerStatus:
    """The worker of another machine, once it is idle."""
    eventually(
        lambda: [status.state for status in remote(pool)] == ["idle"],
        "a worker of another machine is idle",
    )
    return remote(pool)[0]


def held(model: ModelSpec, count: int) -> None:
    eventually(lambda: len(read_log(model, "waiting")) == count, f"{count} stand at the gate")


def go_on(model: ModelSpec) -> None:
    Path(model.path, "gate").touch()


def whole(job: WatchedJob, count: int) -> None:
    """All is there, and nobody is suspected of the loss of a machine."""
    events = list(job.events())
    assert sorted(texts(events)) == list(range(count))
    assert gaps(events) == {}
    assert set(incidents(events)) <= {"machine_lost"}


def test_a_node_works_and_is_lost_and_comes_back(
    bench: Bench, machines: TestCluster, node: Machine
) -> None:
    model, pool = bench.model(actions=HELD), pool_of(bench, machines)
    status = joined(pool)
    assert status.label == f"{status.node} CPU 0"
    assert (status.pid, status.alive) == (None, True)
    job = bench.submit(pool, model, 6, batch_size=1)
    held(model, 2)
    node.kill()
    eventually(lambda: not remote(pool), "its slot is gone")
    go_on(model)
    whole(job, 6)
    assert {report.device for report in job.reports} == {"CPU 0"}
    again = machines.join()
    try:
        there = joined(pool).label
        model = bench.model("next", actions=HELD)
        job = bench.submit(pool, model, 4, batch_size=1)
        held(model, 2)
        go_on(model)
        whole(job, 4)
        assert {report.device for report in job.reports} == {"CPU 0", there}
    finally:
        again.kill()


def test_a_node_that_falls_silent_is_given_up_and_its_late_answers_are_dropped(
    bench: Bench, machines: TestCluster, node: Machine
) -> None:
    # The service of this test is as impatient as it may be: silence is nobody's fault after 10 s.
    pool = pool_of(bench, machines, replace(QUICK, silence_s=SILENT_S + 1.0))
    joined(pool)
    model = bench.model(actions=HELD)
    job = bench.submit(pool, model, 6, batch_size=1)
    held(model, 2)
    node.signal(signal.SIGSTOP)
    eventually(lambda: pool.counters().get("machine_lost", 0) == 1, "it is given up")
    go_on(model)
    whole(job, 6)
    assert {report.device for report in job.reports} == {"CPU 0"}
    node.signal(signal.SIGCONT)


def test_without_its_head_the_cluster_is_gone_and_this_machine_goes_on(
    bench: Bench, tmp_path: Path
) -> None:
    with cluster(tmp_path) as machines:
        machines.join()
        pool, model = pool_of(bench, machines), bench.model(actions=HELD)
        joined(pool)
        job = bench.submit(pool, model, 4, batch_size=1)
        held(model, 2)
        machines.head.kill()
        eventually(lambda: not remote(pool), "its slots are gone")
        go_on(model)
        whole(job, 4)


def test_the_text_is_the_same_wherever_it_is_decoded(
    bench: Bench, machines: TestCluster, node: Machine, tmp_path: Path
) -> None:
    settings = Settings(model="tiny.en", device="cpu", workers=1, data_dir=tmp_path)
    sf.write(tmp_path / "talk.wav", joined_recording([0, 4, 5, 1]).pcm, SAMPLE_RATE)

    def heard(pool: WorkerPool | None) -> tuple[list[TranscriptSegment], set[str]]:
        with ParallelWhisperTranscriber("tiny.en", settings=settings, pool=pool) as transcriber:
            result = transcriber.start(tmp_path / "talk.wav").result()
        devices = {report.device for report in result.report.segments}
        return list(result.transcript.segments), devices

    link = ClusterLink(machines.address, token=machines.token)
    nothing_here = WorkerPool([Device("CPU 0", "cpu")], cluster=link, start=no_process)
    bench.pools.append(nothing_here)
    nothing_here.start()
    joined(nothing_here)
    there, devices = heard(nothing_here)
    assert "CPU 0" not in devices
    here, devices = heard(None)
    assert devices == {"CPU 0"}
    assert here == there


def test_other_code_is_refused_with_what_differs(
    bench: Bench, machines: TestCluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "other"
    kept = ("access", "cli", "cluster", "core", "decoding", "gpu", "model_store", "workers")
    for name in kept:
        shutil.copytree(ROOT / name, project / name)
    with (project / "decoding" / "version.py").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    other = machines.join(project=project)
    pool = pool_of(bench, machines)
    said: list[str] = []

    def refused() -> bool:
        said.append(capfd.readouterr().err)
        return "install the service's version there" in "".join(said)

    eventually(refused, "the log says what differs")
    assert "whisper-for-subs" in "".join(said)
    assert remote(pool) == []
    other.kill()


def no_process(spec: WorkerSpec) -> SlotBackend:
    raise OSError("no process left")


def test_a_stranger_is_not_let_in(
    bench: Bench, machines: TestCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    link = ClusterLink(machines.address, token="0" * 64)
    pool = WorkerPool([Device("CPU 0", "cpu")], engine=FACTORY, limits=QUICK, cluster=link)
    bench.pools.append(pool)
    said: list[str] = []

    def refused() -> bool:
        said.append(capfd.readouterr().err)
        return "cannot be reached" in "".join(said)

    pool.start()
    eventually(refused, "the log says that the cluster cannot be reached")
    assert remote(pool) == []

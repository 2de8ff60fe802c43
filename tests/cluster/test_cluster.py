"""Devices of other machines as slots of a real pool, over a real Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.link import ClusterLink
from tests.cluster.machines import Machine, TestCluster, cluster
from tests.waiting import eventually
from tests.workers.conftest import QUICK, Bench, gaps, incidents, texts
from tests.workers.scripted_engine import FACTORY, read_log
from workers.devices import Device
from workers.fleet import WorkerStatus
from workers.pool import WorkerPool

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


def pool_of(bench: Bench, machines: TestCluster) -> WorkerPool:
    """One worker here, and those of the cluster."""
    link = ClusterLink(machines.address, token=machines.token)
    pool = WorkerPool([Device("CPU 0", "cpu")], engine=FACTORY, limits=QUICK, cluster=link)
    bench.pools.append(pool)
    pool.start()
    return pool


def remote(pool: WorkerPool) -> list[WorkerStatus]:
    return [status for status in pool.status() if status.node]


def joined(pool: WorkerPool, count: int = 1) -> None:
    eventually(
        lambda: sum(status.state == "idle" for status in remote(pool)) == count,
        f"{count} workers of other machines are idle",
    )


def held_by(job_model: Path, count: int) -> None:
    eventually(lambda: len(read_log_of(job_model)) == count, f"{count} workers stand at the gate")


def read_log_of(folder: Path) -> list[str]:
    log = folder / "log.jsonl"
    return [x for x in log.read_text().splitlines() if "waiting" in x] if log.exists() else []


def test_a_node_works_and_is_lost_and_comes_back(
    bench: Bench, machines: TestCluster, node: Machine
) -> None:
    model = bench.model(actions={str(index): "gate" for index in range(12)})
    pool = pool_of(bench, machines)
    joined(pool)
    (status,) = remote(pool)
    assert status.label == f"{status.node} CPU 0"
    assert status.pid is None
    assert status.alive
    job = bench.submit(pool, model, 6, batch_size=1)
    held_by(Path(model.path), 2)
    assert {entry["pid"] for entry in read_log(model, "waiting")}
    node.kill()
    eventually(lambda: not remote(pool), "its slot is gone")
    Path(model.path, "gate").touch()
    events = list(job.events())
    assert sorted(texts(events)) == list(range(6))
    assert gaps(events) == {}
    # Nobody is suspected of a machine's loss.
    assert set(incidents(events)) <= {"machine_lost"}
    again = machines.join()
    joined(pool)
    job = bench.submit(pool, model, 4, batch_size=1)
    assert sorted(texts(list(job.events()))) == list(range(4))
    assert {report.device for report in job.reports} <= {"CPU 0", remote(pool)[0].label}
    again.kill()

"""The optional services of docker-compose.yml beside the app: Prometheus and PostgreSQL, with
Debian's programs in place of their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml

from tests.containers.compose import Compose
from tests.containers.conftest import Serve
from tests.containers.engine import Engine
from tests.containers.service import OPEN, Service
from tests.containers.test_interruptions import SETTINGS, begin
from tests.jobs.recordings import joined
from tests.operations.monitor import RULES, Prometheus
from tests.waiting import eventually

DATABASE = "postgresql://subtitles:secret@postgres/subtitles"


@pytest.fixture(scope="module")
def project(
    engine: Engine,
    compose: Callable[..., Compose],
    others: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Compose]:
    """The app with both; Grafana's image has no stand-in."""
    stand_ins = tmp_path_factory.mktemp("compose") / "stand-ins.yml"
    services = {
        "postgres": {"image": others, "entrypoint": "postgres.sh"},
        "prometheus": {"image": others, "user": "0:0"},
    }
    stand_ins.write_text(yaml.safe_dump({"services": services}))
    project = compose(
        stand_ins,
        profiles=("monitoring", "postgres"),
        WHISPER_METRICS_TOKEN="a-token-for-prometheus",
        PROMETHEUS_PORT="0",
        POSTGRES_PASSWORD="secret",
        DATABASE_URL=DATABASE,
        **SETTINGS,
    )
    project.up("postgres", "prometheus", "whisper-for-subs")
    yield project
    project.down()


def published(engine: Engine, project: Compose, service: str, port: str) -> str:
    container = project.run("ps", "--quiet", service).strip()
    return f"http://127.0.0.1:{engine.run('port', container, port).split()[0].rpartition(':')[2]}"


def test_prometheus_watches_the_app_by_the_rules_of_the_project(
    engine: Engine, project: Compose
) -> None:
    monitor = Prometheus(published(engine, project, "prometheus", "9090"))

    def watches() -> bool:
        with suppress(httpx.TransportError, ValueError):  # it starts
            return monitor.value('up{job="whisper"}') == 1
        return False

    eventually(watches, "Prometheus scrapes the app")
    (group,) = monitor.ask("rules")["groups"]
    (wanted,) = yaml.safe_load(RULES.read_text())["groups"]
    assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in wanted["rules"]]
    eventually(lambda: monitor.value("whisper_worker_up") == 2, "it sees both workers")


def test_another_replica_takes_over_the_job_of_a_lost_one(
    engine: Engine, project: Compose, serve: Serve, tmp_path: Path
) -> None:
    first = Service(engine, project.container)
    first.wait_ready()
    recording = joined(tmp_path / "talk.wav", times=2)
    undisturbed = first.subtitles(first.submit(recording))
    second = serve(
        f"--network={project.project}_default",
        data=f"{project.project}_data",
        DATABASE_URL=DATABASE,
        **OPEN,
    )
    second.wait_ready()
    job = begin(first, recording)
    eventually(lambda: second.job(job)["state"] == "running", "the other one sees the job")
    engine.run("kill", first.container)
    assert second.subtitles(job) == undisturbed
    assert "Going on with talk.wav" in second.log

"""A running app as operators see it: scraped by a real Prometheus, traced, and logging JSON.

One app and one Prometheus for all; the last test breaks the app for good.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bench.processes import working_in
from bench.service import signal_to
from tests.apps import App, running_app
from tests.code_blocks import CodeBlock, code_blocks
from tests.jobs.recordings import SHORT
from tests.operations.monitor import RULES, Prometheus, watching
from tests.otlp import Collector, collecting
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operations.md"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "whisper.json"

TOKEN = "a-token-for-prometheus"
NAME = "my secret talk.flac"
PROMPT = "Zebras and quaggas."

LABELS = {
    *("__name__", "instance", "job", "device", "state", "outcome", "kind", "method", "route"),
    *("code", "le", "version"),
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def app(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector, tiny_en: Path
) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("app")
    settings = {
        "WHISPER_WORKERS": "1",
        "WHISPER_LOG_FORMAT": "json",
        "WHISPER_LOG_LEVEL": "debug",
        "WHISPER_METRICS_TOKEN": TOKEN,
        "WHISPER_OTLP_ENDPOINT": collector.url,
        # Spans come soon; the SDK's own variable.
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with running_app(folder, **settings) as app:
        app.wait_ready()
        yield app


@pytest.fixture(scope="module")
def monitor(
    tmp_path_factory: pytest.TempPathFactory, app: App, prometheus: str
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with watching(prometheus, folder, app.url, TOKEN) as found:
        yield found


def submitted(app: App, content: bytes, name: str) -> str:
    answer = httpx.post(
        f"{app.url}/api/jobs",
        files={"file": (name, content)},
        data={"initial_prompt": PROMPT},
        trust_env=False,
    )
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    eventually(lambda: app.get(f"/api/jobs/{job_id}")[1]["ended_at"] is not None, "it ends")
    return job_id


@pytest.fixture(scope="module")
def done_job(app: App, monitor: Prometheus) -> str:
    """Id of a job that is complete. Prometheus was there before it."""
    job_id = submitted(app, SHORT.read_bytes(), NAME)
    assert app.get(f"/api/jobs/{job_id}")[1]["state"] == "complete"
    return job_id


def test_prometheus_sees_a_job_and_nothing_of_what_users_chose(
    monitor: Prometheus, done_job: str
) -> None:
    for expression in (
        'whisper_jobs_ended_total{state="complete"}',
        "whisper_audio_read_seconds_total",
        'whisper_audio_transcribed_seconds_total{device="CPU 0"}',
        'whisper_segments_total{device="CPU 0",outcome="finished"}',
        'whisper_segment_duration_seconds_count{device="CPU 0"}',
        "whisper_windows_total",
        "whisper_job_speed_ratio_sum",
        "whisper_job_wait_seconds_count",
        "whisper_job_first_cue_seconds_count",
        "whisper_job_duration_seconds_count",
        "whisper_worker_up",
        "whisper_worker_starts_total",
        "whisper_model_loads_total",
        "whisper_database_up",
        "whisper_disk_free_bytes",
        'whisper_http_requests_total{route="/api/jobs",code="202"}',
        'whisper_http_request_duration_seconds_count{route="/metrics"}',
    ):
        eventually(partial(monitor.positive, expression), expression)
    series = monitor.query('{job="whisper"}')
    assert {name for labels, _ in series for name in labels} <= LABELS
    values = {value for labels, _ in series for value in labels.values()}
    assert not [value for value in values if "secret" in value or done_job in value]


def test_every_query_of_the_dashboard_is_answered(monitor: Prometheus, done_job: str) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) > 30
    for query in queries:
        expression = query.replace("$__rate_interval", "1m")
        # Here is no GPU, and nothing went wrong.
        if "whisper_gpu_" in query or "incidents" in query:
            monitor.query(expression)
        else:
            eventually(partial(monitor.has, expression), expression)


def test_the_page_names_every_metric_that_there_is(app: App) -> None:
    text = httpx.get(f"{app.url}/metrics", trust_env=False).text
    there = set(re.findall(r"^# TYPE (whisper_\w+)", text, re.MULTILINE))
    rows = re.findall(r"^\| (`whisper_.*?) \|", PAGE.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(whisper_\w+)`", row)}
    assert there == named
    used = {
        name
        for path in (DASHBOARD, RULES)
        for name in re.findall(r"\bwhisper_[a-z_]+", path.read_text())
    }
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in used} <= named


def test_a_job_is_one_trace(collector: Collector, done_job: str) -> None:
    def whole() -> list[dict[str, Any]]:
        return [span for span in collector.spans() if span.get("job.id") == done_job]

    eventually(lambda: bool(whole()), "the job's span arrives")
    (job,) = whole()
    assert {path for path, _ in collector.requests} == {"/v1/traces"}
    assert collector.services() == {"whisper-for-subs"}
    mine = [span for span in collector.spans() if span["trace"] == job["trace"]]
    parts = [span for span in mine if span is not job and span["id"] != job["id"]]
    assert all(span["parent"] == job["id"] for span in parts)
    assert all(job["begin"] <= span["begin"] <= span["end"] <= job["end"] for span in mine)
    assert (job["job.state"], job["job.model"], job["error"]) == ("complete", "tiny.en", False)
    names = [span["name"] for span in parts]
    assert {"waiting", "reading", "segment", "writing"} <= {*names}
    assert names.count("waiting") == names.count("writing") == 1
    for span in parts:
        if span["name"] == "segment":
            assert (span["device"], span["outcome"], span["attempts"]) == ("CPU 0", "finished", 1)
            assert span["events"] == ["started"]
    assert "secret" not in repr(collector.spans())
    assert "Zebras" not in repr(collector.spans())


def log_events(app: App) -> list[dict[str, Any]]:
    """Every whole line of the log, which is one JSON object."""
    return [json.loads(line) for line in app.log.read_text().split("\n")[:-1]]


def test_every_line_of_the_log_is_json_with_device_segment_and_job(app: App, done_job: str) -> None:
    events = log_events(app)
    for event in events:
        assert {"time", "level", "logger", "message"} <= event.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    loggers = {event["logger"] for event in events}
    assert {"uvicorn.error", "workers.reporting", "jobs.queue"} <= loggers
    (began,) = (e for e in events if e["message"].startswith("Processing segment 0 ("))
    assert (began["device"], began["segment"], began["job"]) == ("CPU 0", 0, done_job)
    steps = [event for event in events if event.get("segment") == 0]
    assert {"workers.fleet", "transcriber", "parallel_transcriber"} <= {
        step["logger"] for step in steps
    }
    given = next(step for step in steps if step["logger"] == "workers.fleet")
    assert given["device"] == "CPU 0"
    assert given["message"].startswith("segment 0 (")


def compose() -> str:
    """How to call Compose here; skips where there is none."""
    docker = shutil.which("docker")
    if (
        docker
        and not subprocess.run([docker, "compose", "version"], capture_output=True).returncode
    ):
        return f"{docker} compose"
    found = shutil.which("docker-compose")
    if found is None:
        pytest.skip("no Docker Compose here (make lint installs it)")
    return found


DOCKER = """\
#!/bin/sh
# No engine runs here: Compose reads what it would start, and the log is the app's.
[ "$1" = logs ] && exec cat "$APP_LOG"
shift
while [ "$1" != up ]; do profiles="$profiles $1"; shift; done
shift 2
for service; do grep -q "^  $service:$" docker-compose.yml || exit 9; done
exec $COMPOSE $profiles config --quiet
"""


@pytest.fixture
def workshop(app: App, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder like that of the project, and an environment in which ``docker`` reads only."""
    for name in ("deploy", "docker-compose.yml", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "APP_LOG": str(app.log),
        "COMPOSE_PROJECT_NAME": "operations",
        "WHISPER_METRICS_TOKEN": TOKEN,
        "WHISPER_DATA_DIR": str(app.data_dir),
        "WHISPER_MODELS_DIR": str(ROOT / "models"),
        "WHISPER_MODEL": "tiny.en",
        "WHISPER_DEVICE": "cpu",
        "WHISPER_WORKERS": "1",
    }
    return tmp_path, environment


def shell(block: str, folder: Path, environment: dict[str, str], answers: str = "") -> str:
    """What the commands print, each of which must succeed. ``answers`` come from a terminal."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answers.encode())
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=folder,
            env=environment,
            stdin=theirs,
            capture_output=True,
            text=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


BASH = code_blocks(PAGE, "bash")


@pytest.mark.parametrize("block", BASH, ids=str)
def test_the_pages_commands_work(
    block: CodeBlock,
    app: App,
    done_job: str,
    promtool: str,
    workshop: tuple[Path, dict[str, str]],
) -> None:
    folder, environment = workshop
    if "docker compose" in block.text:
        environment["COMPOSE"] = compose()
    text = block.text.replace("http://127.0.0.1:7860", app.url)
    shown = shell(text, folder, environment, answers="s\ny\n")
    if "curl" in block.text:
        assert shown.count("\nwhisper_build_info{") == 2
    if ">>.env" in block.text:
        assert re.fullmatch(r"WHISPER_METRICS_TOKEN=\w{48}\n", (folder / ".env").read_text())
    if "--log app.log" in block.text:
        assert "===== log.txt =====" in shown
        assert "Processing segment 0" in shown
    if "--bundle" in block.text:
        assert (folder / "report.zip").stat().st_mode & 0o777 == 0o600
        assert "jobs.json" in shown
        for private in (TOKEN, "my secret talk", "Zebras", done_job):
            assert private not in shown


def test_the_pages_queries_and_lines_are_those_of_the_app(
    app: App, monitor: Prometheus, done_job: str
) -> None:
    (queries,) = code_blocks(PAGE, "promql")
    for query in queries.text.splitlines():
        monitor.query(query)
    (lines,) = code_blocks(PAGE, "json")
    known = {key for event in log_events(app) for key in event}
    for line in lines.text.splitlines():
        assert json.loads(line).keys() <= known
    handled = ("bash", "promql", "json", "yaml")
    assert {block.language for block in code_blocks(PAGE)} == {*handled}


def test_the_pages_job_for_another_prometheus_is_one(promtool: str, tmp_path: Path) -> None:
    (block,) = code_blocks(PAGE, "yaml")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "metrics-token").write_text(TOKEN)
    (tmp_path / "prometheus.yml").write_text(block.text)
    assert yaml.safe_load(block.text)["scrape_configs"][0]["job_name"] == "whisper"
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def fires(monitor: Prometheus, name: str) -> Callable[[], bool]:
    return lambda: (name, "firing") in monitor.alerts()


def test_a_job_that_fails_raises_an_alert(app: App, monitor: Prometheus, done_job: str) -> None:
    assert not fires(monitor, "WhisperJobsFailing")()
    job_id = submitted(app, b"no recording", "broken.mp3")
    assert app.get(f"/api/jobs/{job_id}")[1]["state"] == "failed"
    eventually(fires(monitor, "WhisperJobsFailing"), "the alert fires")


def test_workers_that_die_again_and_again_raise_an_alert(
    app: App, monitor: Prometheus, done_job: str
) -> None:
    assert not fires(monitor, "WhisperDeviceOut")()

    def all_dead() -> bool:
        for each in working_in(app.data_dir.parent):
            if each.kind in ("worker", "starting"):
                signal_to(each.pid, signal.SIGKILL)
        return bool(monitor.value("whisper_device_out") == 1)

    eventually(all_dead, "the device is taken out")
    eventually(fires(monitor, "WhisperDeviceOut"), "the alert fires")
    eventually(fires(monitor, "WhisperWorkersDying"), "the alert fires")
    eventually(lambda: "WhisperNoWorker" in {name for name, _ in monitor.alerts()}, "it begins")
    assert monitor.value('whisper_incidents_total{kind="worker_lost"}') >= 5
    assert monitor.value("whisper_worker_up") == 0

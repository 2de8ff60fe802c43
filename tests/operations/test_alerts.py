"""The files of ``deploy/``: what Prometheus and Grafana read, checked by Prometheus' own tool."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
ALERTS_TEST = Path(__file__).with_name("alerts_test.yml")


def alerts() -> list[str]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["alert"] for rule in group["rules"]]


@pytest.mark.parametrize("arguments", [("check", "rules", RULES), ("test", "rules", ALERTS_TEST)])
def test_the_rules_are_right_and_fire_when_they_should(
    promtool: str, arguments: tuple[str | Path, ...]
) -> None:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_can_read_its_configuration(promtool: str, tmp_path: Path) -> None:
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    (tmp_path / "metrics-token").write_text("token")
    (tmp_path / "alerts.yml").write_text(RULES.read_text())
    (tmp_path / "prometheus.yml").write_text(text.replace("/tmp/metrics-token", "metrics-token"))
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_explained() -> None:
    tested = [case["name"] for case in yaml.safe_load(ALERTS_TEST.read_text())["tests"]]
    assert tested == alerts()
    page = (ROOT / "docs" / "operations.md").read_text()
    assert re.findall(r"^\| `(Whisper\w+)` \|", page, re.MULTILINE) == alerts()


def test_compose_mounts_what_the_configurations_name() -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    for name in ("prometheus", "grafana"):
        service = services[name]
        assert service["profiles"] == ["monitoring"]
        assert re.fullmatch(r"\S+:v?\d+\.\d+\.\d+", service["image"])
        # For this machine alone: neither asks Prometheus' readers who they are.
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_dir(), volume
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["authorization"]["credentials_file"] in services["prometheus"]["entrypoint"][2]
    host, _, port = job["static_configs"][0]["targets"][0].partition(":")
    app = services["whisper-for-subs"]
    assert host in app["networks"]["default"]["aliases"]
    assert app["ports"] == [f"${{WHISPER_PORT:-{port}}}:{port}"]
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "whisper.yml").read_text())[
        "providers"
    ]
    mounted = {volume.split(":")[1] for volume in services["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounted
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "whisper.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_container_of_prometheus_starts_with_the_token_and_not_without(tmp_path: Path) -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    shell, option, script = compose["services"]["prometheus"]["entrypoint"]
    token = tmp_path / "token"
    script = script.replace("$$", "$").replace("/bin/prometheus", "echo")
    script = script.replace("/tmp/metrics-token", str(token))
    started = subprocess.run(
        [shell, option, script],
        env={"WHISPER_METRICS_TOKEN": "a b"},
        capture_output=True,
        text=True,
    )
    assert started.stdout.startswith("--config.file=/etc/prometheus/prometheus.yml --storage")
    assert token.read_text() == "a b"
    refused = subprocess.run([shell, option, script], env={}, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "docs/operations.md" in refused.stderr

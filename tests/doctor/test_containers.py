"""Containers: what they were given."""

from __future__ import annotations

import pytest

from doctor.containers import container, nodes, shared_memory
from tests.doctor.conftest import Built, only, severities

ALL = ["nvidia0", "nvidiactl", "nvidia-uvm"]


def test_outside_of_a_container_nothing_is_missed(build: Built) -> None:
    assert only(container("auto", build())).text == "Not in a container."


@pytest.mark.parametrize(
    "described",
    [
        {"container": True},
        {"files": {"run/.containerenv": ""}},
        {"variables": {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}},
        {"files": {"proc/1/cgroup": "0::/system.slice/docker-4f5.scope\n"}},
    ],
)
def test_containers_are_recognised(described: dict[str, object], build: Built) -> None:
    text = only(container("cpu", build(**described))).text
    assert text.startswith("In a container (")
    assert "`docker compose up -d`; `docker compose restart` keeps the old ones" in text


def test_a_container_without_gpus_is_told_how_to_get_them(build: Built) -> None:
    machine = build(container=True)
    _, missing = container("auto", machine)
    assert missing.severity == "hint"
    assert "--gpus all" in missing.fix
    assert severities(container("cuda", machine)) == ["ok", "error"]
    assert severities(container("cpu", machine)) == ["ok"]


@pytest.mark.parametrize(
    ("able", "severity"),
    [("utility", "error"), ("compute", "warning"), ("compute,utility", None), ("all", None)],
)
def test_capabilities_have_to_be_both(able: str, severity: str | None, build: Built) -> None:
    variables = {"NVIDIA_DRIVER_CAPABILITIES": able, "NVIDIA_VISIBLE_DEVICES": "all"}
    _, *found = container("auto", build(container=True, nodes=ALL, variables=variables))
    assert severities(found) == ([severity] if severity else [])
    if severity:
        assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in found[0].fix


def test_device_files_have_to_be_complete(build: Built) -> None:
    assert only(nodes("auto", build(driver="580.1", nodes=ALL))).severity == "ok"


def test_a_missing_device_file_is_named(build: Built) -> None:
    found = only(nodes("auto", build(driver="580.1", nodes=["nvidia0", "nvidiactl"])))
    assert found.severity == "error"
    assert "/dev/nvidia-uvm" in found.text
    assert "nvidia-modprobe -u -c=0" in found.fix


def test_without_a_driver_no_device_file_is_missed(build: Built) -> None:
    assert severities(nodes("auto", build())) == []
    assert severities(nodes("cpu", build(driver="580.1"))) == []
    assert only(nodes("auto", build(nodes=["dxg"]))).severity == "ok"


def test_shared_memory_is_measured(build: Built) -> None:
    assert only(shared_memory(build())).severity == "hint"
    assert only(shared_memory(build(files={"dev/shm/x": ""}))).severity == "ok"

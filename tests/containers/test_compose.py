"""``docker compose up`` as operators and their users meet it: log, page, API and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser import NewProfile
from tests.containers.compose import Compose
from tests.containers.engine import Engine
from tests.containers.service import Service
from tests.jobs.recordings import SHORT
from tests.waiting import eventually

MIB = 1024 * 1024

FIRST_PASSWORD = re.compile(r"^.*    password  (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def project(compose: Callable[..., Compose]) -> Iterator[Compose]:
    """Started as a fresh clone is, but for the smallest model."""
    project = compose(WHISPER_MODEL="tiny.en")
    project.up()
    yield project
    project.down()


@pytest.fixture(scope="module")
def service(engine: Engine, project: Compose) -> Service:
    """With the rights of a program that was given a key."""
    open_to_all = Service(engine, project.container)
    open_to_all.wait_ready()
    said = project.inside("python", "-m", "cli.main", "keys", "add", "test")
    (key,) = [word for word in said.split() if len(word) > 30]
    return Service(engine, project.container, {"Authorization": f"Bearer {key}"})


@pytest.fixture(scope="module")
def subtitles(service: Service) -> bytes:
    """What the API made of the short recording."""
    found = service.subtitles(service.submit(SHORT))
    assert b"-->" in found
    return found


def test_it_is_healthy_and_its_log_tells_the_first_password_once(
    engine: Engine, service: Service
) -> None:
    def healthy() -> bool:
        status: str = engine.inspect(service.container)["State"]["Health"]["Status"]
        return status == "healthy"

    eventually(healthy, "Docker calls it healthy")
    engine.run("restart", "--time=60", service.container)
    service.wait_ready()
    assert len(FIRST_PASSWORD.findall(service.log)) == 1


def test_its_log_has_the_lines_of_the_documentation(service: Service, subtitles: bytes) -> None:
    for line in (
        r"Initialized ParallelWhisperTranscriber with \d+ CPU workers?",
        r"\[CPU \d\] Processing segment 0 \(1\.9s\)",
        r"\[CPU \d\] ✓ Segment 0: \d+ texts",
        r"Complete! 1 segments \| Speed: ",
    ):
        assert re.search(line, service.log), service.log


def test_users_are_added_inside_and_may_then_log_in(project: Compose, service: Service) -> None:
    app = ("python", "-m", "cli.main")
    project.inside(*app, "users", "add", "anna", stdin="a long password\n")
    assert {"admin", "anna"} <= {*project.inside(*app, "users", "list").split()}
    form = {"user": "anna", "password": "a long password"}
    login = f"{service.url}/login"
    assert httpx.post(login, data=form, trust_env=False).status_code == 303
    refused = httpx.post(login, data={**form, "password": "another one"}, trust_env=False)
    assert refused.status_code == 401


def test_commands_work_inside(project: Compose, service: Service) -> None:
    app = ("python", "-m", "cli.main")
    assert "Nothing is wrong." in project.inside(*app, "doctor")
    assert "large-v3" in project.inside(*app, "plan", "--gpu", "24")


def test_a_browser_gets_the_same_subtitles_as_the_api(
    service: Service, subtitles: bytes, profile: NewProfile
) -> None:
    (password,) = FIRST_PASSWORD.findall(service.log)
    page = profile().new_page()
    page.goto(service.url)
    page.fill("input[name=user]", "admin")
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.set_input_files("#files input[type=file]", SHORT)
    expect(page.locator("#files .file")).to_have_count(1)
    page.click("#start")
    expect(page.locator("#jobs .verdict")).to_have_text(re.compile("^Complete: "))
    with page.expect_download() as started:
        page.get_by_role("navigation", name="Downloads").get_by_text("SRT", exact=True).click()
    assert started.value.path().read_bytes() == subtitles


def test_the_container_has_no_more_rights_than_the_file_says(
    engine: Engine, service: Service
) -> None:
    found = engine.inspect(service.container)
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == 32 * 1024 * MIB
    assert host["PidsLimit"] == 4096
    assert host["Tmpfs"] == {"/tmp": "size=1g,mode=1777"}
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert not host["Privileged"]
    # And they are in force: of the capabilities none is left, new rights cannot come, nothing can
    # be written outside.
    status = engine.run("exec", service.container, "cat", "/proc/1/status")
    values = dict(line.split(":\t", 1) for line in status.splitlines())
    assert {int(values[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert values["NoNewPrivs"] == "1"
    assert values["Uid"].split() == ["1000"] * 4
    write = "touch /app/file 2>&1 || touch /home/app/file 2>&1 || echo refused"
    said = engine.run("exec", service.container, "sh", "-c", write)
    assert "Read-only file system" in said
    assert said.endswith("refused\n")


def test_docker_starts_a_crashed_app_again(
    engine: Engine, service: Service, subtitles: bytes
) -> None:
    before = engine.inspect(service.container)
    job = service.submit(SHORT)
    # The first process is the one that reaps; the app is its child.
    crash = "kill -KILL $(cat /proc/1/task/1/children)"
    engine.run("exec", service.container, "sh", "-c", crash)

    def restarted() -> bool:
        found = engine.inspect(service.container)
        again: bool = found["RestartCount"] > before["RestartCount"] and found["State"]["Running"]
        return again

    eventually(restarted, "Docker starts it again")
    service.wait_ready()
    assert service.subtitles(job) == subtitles
